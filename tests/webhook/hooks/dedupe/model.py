"""A whole world that can be played in any order: API server, storage, Redis, replicas, controller, operator, clock.

The code under test is the real one, from `Submission` down to the scripts' reference; only what lies beyond it is
modelled. Every message travels, and at each step of the way any other thing may happen.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from tests.webhook.hooks.dedupe.model_redis import ModelClient, ModelRedis
from tests.webhook.hooks.dedupe.world import NAMESPACE, Storage, make_run
from webhook.admission.deadline import Deadline
from webhook.clients.api import Reply
from webhook.errors import KubernetesError, RollonceError, StoreError
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.decide import Verdict
from webhook.hooks.dedupe.core.key import DeliveryKey, mark_key
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.doubts import Doubts
from webhook.hooks.dedupe.forget import forget
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.rebuild import Rebuilder
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Store
from webhook.hooks.dedupe.submit import Parts, Submission

KEY: Final = DeliveryKey(NAMESPACE, "nightly", "d-1")
START: Final = 1_700_000_000.0
#: How long the API server lets a request live, and how long it waits for the webhook.
REQUEST_SECONDS: Final = 60.0
WEBHOOK_SECONDS: Final = 4.0
_LOG: Final = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
_METRICS: Final = DedupeMetrics(CollectorRegistry())


class Turn:
    """Lets everybody else go first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Faults:
    """What may go wrong.

    Attributes:
        losses: Probability that a message to or from Redis is lost.
        outages: Whether Redis may be down, or lose its memory.
    """

    losses: float
    outages: bool


@dataclass
class Stored:
    """A run that was stored at some time."""

    run: OrchestrationRun
    at: float
    allowed_at: float
    admitted_blind: bool
    deleted_at: float | None = None


@dataclass
class Pending:
    """A create that the webhook has allowed, on its way to storage."""

    run: OrchestrationRun
    expires_at: float
    allowed_at: float
    admitted_blind: bool


@dataclass
class Actor:
    """Something under way in a process that can die."""

    process: int
    way: Coroutine[Any, Any, object]


class TravellingStorage(Storage):
    """Storage that is reached over a network."""

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        await Turn()
        reply = await super().get(path, deadline, query=query, accept=accept)
        await Turn()
        if deadline.remaining() <= 0:
            raise KubernetesError("The API server did not answer in time.")
        return reply


class World:
    """One history.

    Attributes:
        answers: Names of runs that clients were told to be their delivery's.
    """

    def __init__(self, chance: random.Random, settings: DedupeSettings, faults: Faults) -> None:
        self.chance = chance
        self.settings = settings
        self.faults = faults
        self.now = START + chance.random()
        self.redis = ModelRedis(lambda: int(self.now * 1000))
        self.redis_up = True
        self.snapshot: dict[bytes, tuple[bytes, int | None]] = {}
        self.losses: list[float] = []
        self.storage = TravellingStorage()
        self.stored: list[Stored] = []
        self.pending: list[Pending] = []
        self.actors: list[Actor] = []
        self.forgotten: list[OrchestrationRun] = []
        self.answers: list[str] = []
        self.doubts = [self.new_doubts() for _ in range(2)]
        self.redis.mark(mark_key(KEY.bucket), b"*", b"W", 0)

    def make_store(self) -> Store:
        """A store over a connection of its own."""
        steady = 0

        async def travel() -> None:
            nonlocal steady
            await Turn()
            if not self.redis_up:
                raise StoreError("Redis cannot be reached.")
            steady -= 1
            if steady < 0 and self.chance.random() < self.faults.losses:
                # Without outages, what is lost is asked again with success.
                steady = 0 if self.faults.outages else 2
                raise StoreError("Redis did not answer in time.")

        return Store(ModelClient(self.redis, travel))

    def new_doubts(self) -> Doubts:
        """What a replica that has just started knows of its past: nothing."""
        return Doubts(self.make_store(), lambda: self.now)

    def replace_replica(self, replica: int) -> None:
        """A replica has died, and another one takes its place."""
        self.doubts[replica] = self.new_doubts()

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved."""
        until = self.now + seconds
        while self.now < until:
            await Turn()

    def confirmer(self) -> Confirmer:
        """A confirmer over a connection of its own."""
        return Confirmer(self.make_store(), self.settings, lambda: self.now, _METRICS)

    def deadline(self, seconds: float = WEBHOOK_SECONDS) -> Deadline:
        """A deadline on the world's clock."""
        return Deadline.after(seconds, lambda: self.now)

    async def create(self, name: str, replica: int) -> Verdict | None:
        """A create comes in, is validated and, if allowed, goes on to storage; some time later, or never."""
        store = self.make_store()
        run = make_run(name, uid=str(uuid.UUID(int=self.chance.getrandbits(128))), created=self.now)
        started = self.now
        parts = Parts(
            store=store,
            runs=Runs(self.storage, self.settings.resource),
            confirmer=Confirmer(store, self.settings, lambda: self.now, _METRICS),
            doubts=self.doubts[replica],
            settings=self.settings,
            clock=lambda: self.now,
            sleep=self.sleep,
            log=_LOG,
            metrics=_METRICS,
        )
        request_uid = str(uuid.UUID(int=self.chance.getrandbits(128)))
        try:
            verdict, decision = await Submission(parts, KEY, run, request_uid, self.deadline()).decide()
        except RollonceError:
            return None
        if decision.allowed and self.now < started + WEBHOOK_SECONDS:
            expires_at = started + REQUEST_SECONDS
            self.pending.append(Pending(run, expires_at, self.now, admitted_blind=verdict is Verdict.ADMIT))
        if verdict is Verdict.DUPLICATE:
            self.answers.append(decision.audit_annotations["run"])
        return verdict

    async def watch(self, run: OrchestrationRun) -> None:
        """The controller has seen a run."""
        try:
            await self.confirmer().confirm(run, self.deadline(), by="watch")
        except RollonceError:
            return

    async def delete(self, run: OrchestrationRun) -> None:
        """A run is deleted, and the webhook told before. A deletion that cannot be noted is a documented limit."""
        try:
            await self.confirmer().confirm(run, self.deadline(), by="delete")
        except RollonceError:
            return
        if self.storage.runs.get(run.name) is run:
            del self.storage.runs[run.name]
            for stored in self.stored:
                if stored.run is run:
                    stored.deleted_at = self.now

    async def rebuild(self, replica: int = 0) -> bool:
        """A replica rebuilds what is in doubt."""
        rebuilder = Rebuilder(
            self.make_store(),
            Runs(self.storage, self.settings.resource),
            self.confirmer(),
            self.doubts[replica],
            self.settings,
            monotonic=lambda: self.now,
            sleep=self.sleep,
            log=_LOG,
            metrics=_METRICS,
            buckets=(KEY.bucket,),
        )
        try:
            return await rebuilder.rebuild()
        except RollonceError:
            return False

    async def forget(self) -> None:
        """An operator forgets the run that the record is of."""
        store = self.make_store()
        try:
            _, record = await store.get(KEY, self.deadline())
            if record is None:
                return
            # From the moment it is asked for, the run is not to be counted on.
            self.forgotten.append(make_run(record.name, uid=record.uid, created=record.created_at))
            await forget(store, KEY, record.uid, self.deadline(), retention=self.settings.retention)
        except RollonceError:
            return

    def commit(self, pending: Pending) -> Stored | None:
        """Storage takes a create, if its name is free; returns it if it was stored."""
        self.pending.remove(pending)
        if self.now >= pending.expires_at or not self.storage.store(pending.run):
            return None
        stored = Stored(pending.run, self.now, pending.allowed_at, pending.admitted_blind)
        self.stored.append(stored)
        return stored

    def counts(self, stored: Stored) -> bool:
        """Whether a run that was stored stands against a second one: young enough, and not forgotten."""
        run = stored.run
        if run.created_at + self.settings.retention.total_seconds() <= self.now:
            return False
        return not any(run.uid == gone.uid or run.created_at <= gone.created_at for gone in self.forgotten)

    def lose_memory(self, *, all_of_it: bool) -> None:
        """Redis is emptied, or another server takes over that has not seen the latest writes."""
        self.losses.append(self.now)
        self.redis.replid = b"%040x" % self.chance.getrandbits(160)
        self.redis.keys = {} if all_of_it else dict(self.snapshot)
