"""One step of a server from any state: the state is put into the real objects, they do the step, and it is read back.

Redis is the Python form of the scripts, the API server a dictionary; everything else is the code of the programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from tests.webhook.dedupe.exploration_objects import (
    Labels,
    config_map,
    request_uid,
    settled,
    view,
)
from tests.webhook.dedupe.exploration_server import Memory
from tests.webhook.dedupe.exploration_state import (
    START,
    Allowed,
    Call,
    CreateState,
    End,
    Outcome,
    ServerState,
    StoreData,
    Surroundings,
)
from tests.webhook.dedupe.model_redis import Bucket, ModelClient, ModelRedis
from tests.webhook.dedupe.world import NAMESPACE, Storage, make_run
from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.identity import DeliveryKey, mark_key
from webhook.dedupe.core.reservation import ReserveOutcome
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.core.submission import Look, Pause, Reserve, Submission
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.validator import RunValidator, _Review
from webhook.dedupe.wiring import Deduplication, Records, StateAddress
from webhook.errors import RollonceError, StoreError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

KEY: Final = DeliveryKey(NAMESPACE, "nightly", "d-1")
_MARK: Final = mark_key(KEY.bucket)
_FAR: Final = 1 << 47
_LOG: Final = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
ResultT = TypeVar("ResultT")


class Rig:
    """Do single steps.

    Args:
        settings: The settings of deduplication.

    Attributes:
        rows: The rows of the table that have decided something.
    """

    def __init__(self, settings: DedupeSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._ahead = 0.0
        self._reachable = True
        self._redis = ModelRedis(lambda: int((START + self._ahead) * 1000))
        self._storage = Storage(clock=lambda: START)
        self._client = ModelClient(self._redis, self._travel)
        self._metrics = DedupeMetrics(CollectorRegistry())
        self._servers: dict[str, Deduplication] = {}
        self._memory = Memory(KEY)
        self._others = Records(
            settings, self._storage, self._client, clock=self._clock(), log=_LOG, metrics=self._metrics,
            buckets=(KEY.bucket,),
        )  # fmt: skip
        self.rows: set[int] = set()

    def close(self) -> None:
        """Close the event loop."""
        self._loop.close()

    def keep(self, server: ServerState, around: Surroundings) -> Outcome:
        """Let a server read and write the ledger once."""
        self._load(server, around)
        self._run(self._server(server.name).keeper.step())
        return self._save(server, around)

    def follow(self, server: ServerState, around: Surroundings) -> Outcome:
        """Let a server follow the store, read what is pending, remember the records, and rebuild."""
        self._load(server, around)
        self._run(self._follow(self._server(server.name)))
        return self._save(server, around)

    def announce(self, server: ServerState, around: Surroundings) -> Outcome:
        """Let a server say that it admits creates without the store, on behalf of another delivery."""
        self._load(server, around)
        with contextlib.suppress(RollonceError):
            self._run(self._server(server.name).keeper.admission(self._deadline()))
        return self._save(server, around)

    def note_deletion(self, number: int, around: Surroundings, server: ServerState) -> Outcome:
        """Let the webhook for deletions confirm a run."""
        self._load(server, around)
        (run,) = [self._made(*entry) for entry in around.cluster.runs if entry[0] == number]
        self._run(self._others.confirmer.confirm(run, self._deadline(), by="delete"))
        return self._save(server, around)

    def begin(self, number: int, name: str, index: int) -> Call:
        """Return a create that was just sent to a server."""
        run = self._made(number, name)
        review = next(iter(self._servers.values())).validator._create(KEY, run, request_uid(number))
        return Call(name, index, Submission(review))

    def advance(self, number: int, call: Call, server: ServerState, around: Surroundings) -> Outcome:
        """Let a server do the next step of a create, and what follows from it without another message."""
        self._load(server, around)
        validator = self._server(server.name).validator
        deadline = self._deadline()
        # No time passes in a call.
        review = _Review(call.submission.create, request_uid(number), deadline, deadline, asked_at=START)
        step = call.submission.next_step(patient=True)
        self.rows |= {step.row} - {None}  # type: ignore[arg-type]
        match step:
            case Reserve():
                result = self._attempt(validator._ask_store(review, step))
                if result is not None and result.outcome is ReserveOutcome.MADE:
                    validator._local.remember(KEY.address)
                state = call.submission.after_reserve(result, validator._local.recall(KEY.address, call.name))
            case Look():
                state = call.submission.after_look(self._run(validator._look(review, call.submission, step)))
            case _:
                verdict, _ = self._run(validator._admit(review))
                admitted = Allowed(call.name, verdict, START, unproved=False)
                end = admitted if verdict is Verdict.ADMIT else End.OVER
                return self._save(server, around, ((end, ""),))
        creates = tuple(self._settle(validator, call._replace(submission=state), review))
        return self._save(server, around, creates)

    def _settle(self, validator: RunValidator, call: Call, review: _Review) -> list[tuple[CreateState, str]]:
        """Return what can become of a create without another message."""
        state = call.submission
        # To wait for another create is the same as to be refused and to try again.
        step = state.next_step(patient=False)
        if isinstance(step, Reserve | Look):
            return [(call, "")]
        self.rows.add(step.row)
        if isinstance(step, Pause):
            return [(call._replace(submission=state.after_pause()), "")]
        match step.verdict:
            case Verdict.ADMIT:
                return [(call, "")]
            case Verdict.ALLOW:
                return [(Allowed(call.name, Verdict.ALLOW, START, bool(state.unproved_name)), "")]
            case Verdict.DUPLICATE:
                self._attempt(validator._confirm(review, state))
                record = state.result.record if state.result else None
                return [(End.OVER, review.found.name if review.found else record.name if record else "?")]
        return [(End.OVER, "")]

    async def _follow(self, server: Deduplication) -> None:
        ticks = await server.follower.step()
        due = [pending for tick in ticks for pending in tick.due]
        if due:
            await server.verifier.verify(due, now=max(tick.now for tick in ticks), asked=START, answered=START)
        try:
            if server.recollection._incomplete.is_set():
                await server.recollection.fill()
            await server.rebuilder.rebuild()
        except RollonceError:
            return

    def _load(self, server: ServerState, around: Surroundings) -> None:
        store, cluster = around.store, around.cluster
        self._ahead, self._reachable = store.ahead, around.reachable
        self._redis.replid = b"%040x" % store.server
        self._redis.keys = {KEY.record_key: (store.record, _FAR)} if store.record else {}
        stream = dict.fromkeys(store.stream, KEY.address.digest)
        self._redis.buckets = {_MARK: Bucket(store.mark, dict(store.head), dict(store.pending), stream)}
        self._storage.runs = {name: self._made(number, name) for number, name in cluster.runs}
        self._storage.version = 2
        self._storage.state = config_map(cluster.state)
        self._memory.load(self._server(server.name), server)

    def _save(
        self, server: ServerState, around: Surroundings, creates: tuple[tuple[CreateState, str], ...] = ()
    ) -> Outcome:
        after = self._memory.save(self._server(server.name), server.name, self._storage.state)
        labels = Labels(around.store.datasets)
        bucket = self._redis.bucket(_MARK)
        head = {
            name: labels.of(value.decode()).encode() if name == "d" else value for name, value in bucket.head.items()
        }
        store = StoreData(
            around.store.server,
            self._ahead,
            settled(self._redis.get(KEY.record_key)),
            bucket.mark,
            tuple(sorted(head.items())),
            tuple(sorted(bucket.pending.items())),
            tuple(sorted(bucket.stream)),
        )
        if after.position is not None:
            after = after._replace(position=(labels.of(after.position[0]), after.position[1]))
        assert self._storage.state is not None
        state = labels.view(view(self._storage.state, current=True))
        if after.seen is not None:
            after = after._replace(seen=labels.view(after.seen))
        store = store._replace(datasets=labels.count)
        wrote = self._storage.version != 2
        return Outcome(after, store, around.cluster._replace(state=state), wrote, creates)

    def _server(self, name: str) -> Deduplication:
        if name not in self._servers:
            self._servers[name] = Deduplication(
                self._settings, self._storage, self._client, state=StateAddress(server=name), clock=self._clock(),
                log=_LOG, metrics=self._metrics, buckets=(KEY.bucket,),
            )  # fmt: skip
        return self._servers[name]

    def _made(self, number: int, name: str) -> OrchestrationRun:
        return make_run(name, uid=str(uuid.UUID(int=(number + 1) << 96)), created=START)

    def _deadline(self) -> Deadline:
        return Deadline.after(4.0, lambda: START)

    def _clock(self) -> Clock:
        return Clock(monotonic=lambda: START, time=lambda: START, jitter=lambda: 0.5)

    def _run(self, way: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self._loop.run_until_complete(way)

    def _attempt(self, way: Coroutine[Any, Any, ResultT]) -> ResultT | None:
        try:
            return self._run(way)
        except StoreError:
            return None

    async def _travel(self, _: object) -> None:
        if not self._reachable:
            raise StoreError("Redis cannot be reached.")
