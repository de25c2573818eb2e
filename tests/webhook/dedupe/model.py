"""A model of the whole system: API server, storage, Redis, replicas, controller, operator and clock, in any order.

The code under test is the real one, connected as in the programs; only what it talks to is a model. Every message takes
time, and between any two steps any other event can happen.
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

from tests.webhook.dedupe.model_redis import MessageLostError, ModelClient, ModelRedis
from tests.webhook.dedupe.world import NAMESPACE, Storage, make_run
from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.identity import DeliveryKey, mark_key
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.wiring import Deduplication
from webhook.errors import KubernetesError, RollonceError, StoreError
from webhook.kube.api import Reply
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

KEY: Final = DeliveryKey(NAMESPACE, "nightly", "d-1")
START: Final = 1_700_000_000.0
#: How long the API server keeps a request, and how long it waits for the webhook.
REQUEST_SECONDS: Final = 60.0
WEBHOOK_SECONDS: Final = 4.0
_LOG: Final = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
_METRICS: Final = DedupeMetrics(CollectorRegistry())


class Step:
    """Let all other actors go first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Faults:
    """What may go wrong.

    Attributes:
        losses: Probability that a message to or from Redis is lost.
        outages: Whether Redis may be down, or lose records.
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
    """A create that the webhook has allowed and that is not stored yet."""

    run: OrchestrationRun
    expires_at: float
    allowed_at: float
    admitted_blind: bool


@dataclass
class Actor:
    """Something under way in a process that can die."""

    process: int
    way: Coroutine[Any, Any, object]


class RemoteStorage(Storage):
    """Storage that is reached over a network."""

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        await Step()
        reply = await super().get(path, deadline, query=query, accept=accept)
        await Step()
        if deadline.remaining() <= 0:
            raise KubernetesError("The API server did not answer in time.")
        return reply


class World:
    """One history.

    Attributes:
        random: The source of all randomness, so that a history can be repeated.
        settings: The settings of deduplication.
        faults: What may go wrong.
        answers: The names of runs that the answers to duplicates have named.
    """

    def __init__(self, randomness: random.Random, settings: DedupeSettings, faults: Faults) -> None:
        self.random = randomness
        self.settings = settings
        self.faults = faults
        self.now = START + randomness.random()
        self.redis = ModelRedis(lambda: int(self.now * 1000))
        self.redis_up = True
        self.snapshot: dict[bytes, tuple[bytes, int | None]] = {}
        self.losses: list[float] = []
        self.storage = RemoteStorage()
        self.stored: list[Stored] = []
        self.pending: list[Pending] = []
        self.actors: list[Actor] = []
        self.forgotten: list[OrchestrationRun] = []
        self.answers: list[str] = []
        self.replicas = [self.start() for _ in range(2)]
        #: The controller, the deletion webhook and the operator: none of them admits creates.
        self.others = self.start()
        self.redis.mark(mark_key(KEY.bucket), b"*", b"W", 0)

    def start(self) -> Deduplication:
        """Start a process: a new one has admitted nothing."""
        clock = Clock(monotonic=lambda: self.now, time=lambda: self.now, sleep=self.sleep, jitter=self.random.random)
        client = ModelClient(self.redis, self.travel)
        return Deduplication(self.settings, self.storage, client, clock=clock, log=_LOG, metrics=_METRICS)

    def replace_replica(self, replica: int) -> None:
        """Start a replica in place of one that has died."""
        self.replicas[replica] = self.start()

    async def travel(self, repeated: bool) -> None:  # noqa: FBT001 - as `ModelClient` calls it
        """Carry a message to or from Redis."""
        await Step()
        if not self.redis_up:
            raise StoreError("Redis cannot be reached.")
        # Without outages, a call that is repeated succeeds.
        safe = repeated and not self.faults.outages
        if not safe and self.random.random() < self.faults.losses:
            raise MessageLostError("Redis did not answer in time.")

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved."""
        until = self.now + seconds
        while self.now < until:
            await Step()

    def deadline(self, seconds: float = WEBHOOK_SECONDS) -> Deadline:
        """Return a deadline by the world's clock."""
        return Deadline.after(seconds, lambda: self.now)

    async def create(self, name: str, replica: int) -> Verdict | None:
        """Validate a create; if it is allowed, it is stored some time later, or never."""
        run = make_run(name, uid=str(uuid.UUID(int=self.random.getrandbits(128))), created=self.now)
        started = self.now
        request_uid = str(uuid.UUID(int=self.random.getrandbits(128)))
        try:
            verdict, decision = await self.replicas[replica].validator.decide(KEY, run, request_uid, self.deadline())
        except RollonceError:
            return None
        if decision.allowed and self.now < started + WEBHOOK_SECONDS:
            expires_at = started + REQUEST_SECONDS
            self.pending.append(Pending(run, expires_at, self.now, admitted_blind=verdict is Verdict.ADMIT))
        if verdict is Verdict.DUPLICATE:
            self.answers.append(decision.audit_annotations["run"])
        return verdict

    async def watch(self, run: OrchestrationRun) -> None:
        """Let the controller's watch show a run."""
        try:
            await self.others.confirmer.confirm(run, self.deadline(), by="watch")
        except RollonceError:
            return

    async def delete(self, run: OrchestrationRun) -> None:
        """Delete a run; the webhook is called before. A deletion that cannot be noted is a documented limit."""
        try:
            await self.others.confirmer.confirm(run, self.deadline(), by="delete")
        except RollonceError:
            return
        if self.storage.runs.get(run.name) is run:
            del self.storage.runs[run.name]
            for stored in self.stored:
                if stored.run is run:
                    stored.deleted_at = self.now

    async def rebuild(self, replica: int = 0) -> bool:
        """Let a replica rebuild buckets that are not synced."""
        try:
            return await self.replicas[replica].rebuilder.rebuild((KEY.bucket,))
        except RollonceError:
            return False

    async def forget(self) -> None:
        """Let an operator forget the run of the record."""
        try:
            _, record = await self.others.store.get(KEY, self.deadline())
            if record is None:
                return
            # From the moment of the request on, the run must not be counted on.
            self.forgotten.append(make_run(record.name, uid=record.uid, created=record.created_at))
            await self.others.confirmer.forget(KEY, record.uid, self.deadline())
        except RollonceError:
            return

    def commit(self, pending: Pending) -> Stored | None:
        """Store a create if its name is free; returns it if it was stored."""
        self.pending.remove(pending)
        if self.now >= pending.expires_at or not self.storage.store(pending.run):
            return None
        stored = Stored(pending.run, self.now, pending.allowed_at, pending.admitted_blind)
        self.stored.append(stored)
        return stored

    def counts(self, stored: Stored) -> bool:
        """Return whether a run that was stored excludes a second one: it is young enough, and not forgotten."""
        run = stored.run
        if run.created_at + self.settings.retention.total_seconds() <= self.now:
            return False
        return not any(run.uid == gone.uid or run.created_at <= gone.created_at for gone in self.forgotten)

    def lose_records(self, *, everything: bool) -> None:
        """Empty Redis, or let a server take over that does not have the latest writes."""
        self.losses.append(self.now)
        self.redis.replid = b"%040x" % self.random.getrandbits(160)
        self.redis.keys = {} if everything else dict(self.snapshot)
