"""A model of the whole system: API server, storage, Redis, replicas, controller, operator and clocks, in any order.

The code under test is the real one, connected as in the programs; only what it talks to is a model. Every message takes
time, and between any two steps any other event can happen.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from tests.webhook.dedupe.model_actor import Actor, step
from tests.webhook.dedupe.model_events import Faults, Pending, Stored
from tests.webhook.dedupe.model_redis import MessageLostError, ModelClient, ModelRedis
from tests.webhook.dedupe.world import NAMESPACE, Storage, make_run
from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.wiring import Deduplication, Records, StateAddress
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
ResultT = TypeVar("ResultT")


@dataclass
class RemoteStorage(Storage):
    """Storage that is reached over a network."""

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """Answer a GET, some time later."""
        await step()
        reply = await super().get(path, deadline, query=query, accept=accept)
        await step()
        if deadline.remaining() <= 0:
            raise KubernetesError("The API server did not answer in time.")
        return reply

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """Answer a PUT, some time later."""
        await step()
        reply = await super().send(method, path, body, deadline, query=query, content_type=content_type)
        await step()
        if deadline.remaining() <= 0:
            raise KubernetesError("The API server did not answer in time.")
        return reply


@dataclass
class World:
    """One history.

    Attributes:
        random: The source of all randomness, so that a history can be repeated.
        settings: The settings of deduplication.
        faults: What may go wrong.
        answers: The names of runs that the answers to duplicates have named.
        losses: When Redis lost records, or what the servers had written to the API server was lost.
        outages: When Redis stopped answering a replica, and when it answered it again.
        ahead: By how much the clock of Redis is ahead, in seconds, and by how much it ever was.
    """

    random: random.Random
    settings: DedupeSettings
    faults: Faults
    answers: list[str] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    forgotten: list[OrchestrationRun] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    ahead: float = 0.0
    most_ahead: float = 0.0

    def __post_init__(self) -> None:
        self.now = START + self.random.random()
        self.redis = ModelRedis(lambda: int((self.now + self.ahead) * 1000))
        self.reachable = [True, True, True]
        self.snapshot = self.redis.data()
        self.storage = RemoteStorage(clock=lambda: self.now)
        self.started = 0
        self.loop = asyncio.new_event_loop()
        self.replicas = [self.start(0), self.start(1)]
        #: The controller, the deletion webhook and the operator: none of them admits creates.
        self.others = Records(
            self.settings,
            self.storage,
            self.client(2),
            clock=self.clock(),
            log=_LOG,
            metrics=_METRICS,
            buckets=(KEY.bucket,),
        )
        for replica in range(2):
            self.finish(self.background(replica))

    def act(self, process: int, way: Coroutine[Any, Any, object]) -> None:
        """Let a process begin something."""
        self.actors.append(Actor(self.loop, process, way))

    def finish(self, way: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Let one actor run to its end, with time passing slowly."""
        actor = Actor(self.loop, -1, way)
        while not actor.task.done():
            self.now += 0.0001
            actor.go_on(self.random)
        result: ResultT = actor.task.result()
        return result

    def end(self) -> None:
        """End everything that is under way."""
        for actor in self.actors:
            actor.die()
        self.actors.clear()

    def clock(self) -> Clock:
        """Return the clock of a process."""
        return Clock(monotonic=lambda: self.now, time=lambda: self.now, sleep=self.sleep, jitter=self.random.random)

    def client(self, process: int) -> ModelClient:
        """Return the connection of a process to Redis."""
        return ModelClient(self.redis, lambda repeated: self.travel(process, repeated=repeated))

    def start(self, process: int) -> Deduplication:
        """Start a server: a new one knows nothing."""
        self.started += 1
        return Deduplication(
            self.settings,
            self.storage,
            self.client(process),
            state=StateAddress(server=f"server-{self.started}"),
            clock=self.clock(),
            log=_LOG,
            metrics=_METRICS,
            buckets=(KEY.bucket,),
        )

    def replace_replica(self, replica: int) -> None:
        """Start a replica in place of one that has died."""
        self.replicas[replica] = self.start(replica)

    async def travel(self, process: int, *, repeated: bool) -> None:
        """Carry a message to or from Redis."""
        await step()
        if not self.reachable[process]:
            raise StoreError("Redis cannot be reached.")
        # Without outages, a call that is repeated succeeds.
        safe = repeated and not self.faults.outages
        if not safe and self.random.random() < self.faults.losses:
            raise MessageLostError("Redis did not answer in time.")

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved."""
        until = self.now + seconds
        while self.now < until:
            await step()

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
            self.pending.append(Pending(run, expires_at, self.now, verdict, bool(decision.warnings)))
        if verdict is Verdict.DUPLICATE:
            self.answers.append(decision.audit_annotations["run"])
        return verdict

    async def watch(self, run: OrchestrationRun) -> None:
        """Let the controller's watch show a run."""
        try:
            await self.others.confirmer.confirm(run, self.deadline(), by="watch")
        except RollonceError:
            return

    async def delete(self, run: OrchestrationRun, *, noticed: bool) -> None:
        """Delete a run; unless nothing of rollonce runs, the webhook is called before."""
        if noticed:
            try:
                await self.others.confirmer.confirm(run, self.deadline(), by="delete")
            except RollonceError:
                noticed = False
        if self.storage.runs.get(run.name) is run:
            del self.storage.runs[run.name]
            for stored in self.stored:
                if stored.run is run:
                    stored.deleted_at, stored.noticed = self.now, noticed

    async def rebuild(self, replica: int = 0) -> bool:
        """Let a replica rebuild buckets that are not synced."""
        try:
            return await self.replicas[replica].rebuilder.rebuild()
        except RollonceError:
            return False

    async def background(self, replica: int) -> None:
        """Let a replica do once what it does again and again."""
        server = self.replicas[replica]
        await server.keeper.step()
        await self.follow(replica)
        try:
            await server.recollection.fill()
        except StoreError:
            return

    async def follow(self, replica: int) -> None:
        """Let a replica follow the store, and read the runs that are pending."""
        server = self.replicas[replica]
        asked = self.now
        ticks, answered = await server.follower.step(), self.now
        due = [pending for tick in ticks for pending in tick.due]
        if due:
            await server.verifier.verify(due, now=max(t.now for t in ticks), asked=asked, answered=answered)

    async def forget(self) -> None:
        """Let an operator forget the run of the record."""
        try:
            _, record = await self.others.store.get(KEY.address, self.deadline())
            if record is None:
                return
            # From the moment of the request on, the run must not be counted on.
            self.forgotten.append(make_run(record.name, uid=record.uid, created=record.created_at))
            await self.others.confirmer.forget(KEY.address, record.uid, self.deadline())
        except RollonceError:
            return

    def commit(self, pending: Pending) -> Stored | None:
        """Store a create if its name is free; returns it if it was stored."""
        self.pending.remove(pending)
        if self.now >= pending.expires_at or not self.storage.store(pending.run):
            return None
        stored = Stored(pending.run, self.now, pending.allowed_at, pending.verdict, pending.unproved)
        self.stored.append(stored)
        return stored

    def counts(self, stored: Stored) -> bool:
        """Return whether a run that was stored excludes a second one: it is young enough, and not forgotten."""
        run = stored.run
        if run.created_at + self.settings.retention.total_seconds() <= self.now:
            return False
        return not any(run.uid == gone.uid or run.created_at <= gone.created_at for gone in self.forgotten)

    def reach(self, process: int, *, reachable: bool) -> None:
        """Cut a process off from Redis, or connect it again."""
        if self.reachable[process] and not reachable:
            self.outages.append((self.now, float("inf")))
        elif reachable and not self.reachable[process]:
            self.outages = [(since, min(until, self.now)) for since, until in self.outages]
        self.reachable[process] = reachable

    def restart_redis(self, data: Any = None) -> None:
        """Restart Redis, with all data or with other data."""
        if data is not None:
            self.losses.append(self.now)
        self.redis.restart(b"%040x" % self.random.getrandbits(160), data or self.redis.data())

    def set_clock(self, ahead: float) -> None:
        """Let the clock of Redis jump."""
        self.ahead, self.most_ahead = ahead, max(self.most_ahead, ahead)
