"""What can happen next to one delivery: a message of a create, a round of a server, a fault, or time that passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.webhook.dedupe.exploration_rig import KEY
from tests.webhook.dedupe.exploration_state import START, Allowed, Call, Cluster, End, ServerState, StateView, StoreData
from tests.webhook.dedupe.exploration_steps import (
    AROUND,
    CLUSTER,
    CREATES,
    SERVERS,
    STORE,
    Around,
    Left,
    Moved,
    State,
    Steps,
)
from tests.webhook.dedupe.limits import History, Kept, limit_of
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.core.record import decode
from webhook.dedupe.settings import DedupeSettings, OnRedisDown

NAMES: Final = ("a", "b", generated_name("nightly-", KEY.ref, KEY.delivery_id))
#: The jumps of time in seconds: until the first read of what is pending and still within two seconds; until what was
#: read or announced before is known or trusted no more; and about half a lease, after which a commit is late.
JUMPS: Final = (2.0, 8.0, 50.0)
#: By how many seconds the clock of Redis can jump.
STEPS: Final = (120.0, -600.0)


class DefectError(AssertionError):
    """A promise is broken."""


class Moves(Steps):
    """Know what can follow from a state.

    Args:
        settings: The settings of deduplication.

    Attributes:
        limits: The rows of "What can still go wrong" that were reached.
    """

    def __init__(self, settings: DedupeSettings) -> None:
        super().__init__(settings)
        self.limits: set[str] = set()

    def after(self, state: State) -> Moved:
        """Yield everything that can happen next."""
        for label, after in self._after(state):
            yield label, self._normal(after)

    def has_ended(self, state: State) -> bool:
        """Return whether all creates are decided, so that the servers and the store change nothing any more."""
        return not any(isinstance(self.value(state, place), Call) or state[place] == self.waiting for place in CREATES)

    def ended(self, state: State) -> State:
        """Return what still matters of a state in which all creates are decided: which runs are stored, and when."""
        around: Around = self.value(state, AROUND)
        deletions = min(around.left.faults, around.left.deletions)
        left = Left(deletions, deletions, 0, 0, 0, 0, around.left.jumps)
        cluster = Cluster(self.value(state, CLUSTER).runs, StateView("", START))
        nothing = {STORE: None, SERVERS[0]: None, SERVERS[1]: None, CLUSTER: cluster}
        return self._normal(
            self.changed(state, {**nothing, AROUND: around._replace(left=left, reachable=(True, True))})
        )

    def _normal(self, state: State) -> State:
        """Return a state without the times of runs that cannot be deleted any more, if they explain nothing."""
        around: Around = self.value(state, AROUND)
        if around.outage or around.loss or min(around.left.faults, around.left.deletions):
            return state
        changes: dict[int, object] = {}
        for place in CREATES:
            create = self.value(state, place)
            if isinstance(create, Kept) and create.deleted_at is None and create.at:
                changes[place] = replace(create, created_at=0.0, allowed_at=0.0, at=0.0)
        return self.changed(state, changes) if changes else state

    def _after(self, state: State) -> Moved:
        around: Around = self.value(state, AROUND)
        if self.value(state, STORE) is None:
            yield from self._late(state, around)
            return
        for number in range(len(CREATES)):
            yield from self._creates(state, number)
        for index in range(len(SERVERS)):
            kept = self.stepped(state, index, "keep")
            yield f"round of {index}", self.stepped(kept, index, "follow")
            # Other settings begin in an outage instead, which has fewer states.
            allowing = self.settings.on_redis_down is OnRedisDown.ALLOW and any(around.left.jumps)
            if allowing and not around.reachable[index]:
                yield f"another delivery at {index}", self.stepped(state, index, "announce")
        yield from self._deletions(state, around)
        yield from self._losses(state, around)
        yield from self._restarts(state, around)
        yield from self._outage(state, around)
        yield from self._jumps(state, around)

    def _late(self, state: State, around: Around) -> Moved:
        """Yield what can happen when all creates are decided."""
        for place in CREATES:
            create = self.value(state, place)
            if isinstance(create, Allowed):
                yield f"store {create.name}", self._committed(state, CREATES.index(place), create)
        for number, name in self.value(state, CLUSTER).runs if around.left.deletions else ():
            yield f"delete {name}", self._deleted(state, state, number, noticed=False)
        yield from self._jumps(state, around)

    def _jumps(self, state: State, around: Around) -> Moved:
        """Yield what can happen when time passes."""
        for kind, seconds in enumerate(JUMPS):
            if around.left.jumps[kind]:
                jumps = tuple(number - (each == kind) for each, number in enumerate(around.left.jumps))
                left = around.left._replace(jumps=jumps)
                yield f"{seconds:g} s", self.later(self.changed(state, {AROUND: around._replace(left=left)}), seconds)

    def advanced(self, state: State, number: int) -> Moved:
        """Yield what can come of the next message of a create."""
        call: Call = self.value(state, CREATES[number])
        stored = {each.name for each in self.kept(state)}
        for named, after in self.answered(state, number):
            if named and named not in stored:
                raise DefectError(f"a duplicate names {named!r}, which was never stored")
            create = self.value(after, CREATES[number])
            yield f"{call.name}: {'over' if create is End.OVER else type(create).__name__}", after

    def _creates(self, state: State, number: int) -> Moved:
        create = self.value(state, CREATES[number])
        match create:
            case End.WAITING:
                if number and self.value(state, CREATES[number - 1]) is End.WAITING:
                    return
                # Two servers of which none was asked yet are alike, and so are two names of which none is in use.
                for name in self._names(state):
                    for index in range(len(SERVERS)) if number else (0,):
                        begun = self.begun(state, number, name, index)
                        yield from ((f"{label} at {index}", each) for label, each in self.advanced(begun, number))
            case Call():
                yield from self.advanced(state, number)
            case Allowed():
                yield f"store {create.name}", self._committed(state, number, create)

    def _names(self, state: State) -> tuple[str, ...]:
        """Return the names to try: of the first two only one, if nothing distinguishes them."""
        creates = [self.value(state, place) for place in CREATES]
        store: StoreData = self.value(state, STORE)
        used = {create.name for create in creates if not isinstance(create, End)}
        if store.record:
            used.add(decode(store.record).name)
        return NAMES if used & {NAMES[0], NAMES[1]} else (NAMES[0], NAMES[2])

    def _committed(self, state: State, number: int, create: Allowed) -> State:
        """Store a create if its name is free.

        Raises:
            DefectError: It is the second one of the delivery, and nothing explains that.
        """
        cluster: Cluster = self.value(state, CLUSTER)
        if create.name in {name for _, name in cluster.runs}:
            return self.changed(state, {CREATES[number]: End.OVER})
        # The run was created when it was sent, and no time passes until it is allowed.
        run = Kept(create.name, create.allowed_at, create.verdict, create.allowed_at, START, create.unproved)
        around: Around = self.value(state, AROUND)
        history = History(
            START,
            self.settings.retention.total_seconds(),
            () if around.loss is None else (around.loss,),
            () if around.outage is None else (around.outage,),
            around.ahead,
            self.settings.on_redis_down is OnRedisDown.DENY,
            own_names=self.settings.on_redis_down is OnRedisDown.ALLOW,
        )
        for first in self.kept(state):
            limit = limit_of(first, run, history)
            if limit is None:
                raise DefectError(f"{first} and then {run} were stored")
            self.limits.add(limit)
        runs = tuple(sorted((*cluster.runs, (number, create.name))))
        return self.changed(state, {CREATES[number]: run, CLUSTER: cluster._replace(runs=runs)})

    def _deletions(self, state: State, around: Around) -> Moved:
        """A run is deleted, and a server is called before or is not."""
        cluster: Cluster = self.value(state, CLUSTER)
        for number, name in cluster.runs if around.left.without("deletions") else ():
            for index in (None, *(index for index, reachable in enumerate(around.reachable) if reachable)):
                told = (
                    state if index is None else self.applied(state, index, self.outcome(state, index, "delete", number))
                )
                suffix = "" if index is None else ", noticed"
                yield f"delete {name}{suffix}", self._deleted(state, told, number, noticed=index is not None)
                if index is not None:
                    break

    def _deleted(self, state: State, told: State, number: int, *, noticed: bool) -> State:
        around: Around = self.value(state, AROUND)
        kept: Kept = self.value(state, CREATES[number])
        cluster: Cluster = self.value(told, CLUSTER)
        left = around.left.without("deletions") or around.left
        changes = {
            AROUND: around._replace(left=left),
            CLUSTER: cluster._replace(runs=tuple(run for run in cluster.runs if run[0] != number)),
            CREATES[number]: replace(kept, deleted_at=START, noticed=noticed),
        }
        return self.changed(told, changes)

    def _losses(self, state: State, around: Around) -> Moved:
        """Redis is emptied, or restarts with its data, or fails over to a replica without the writes."""
        left = around.left.without("losses")
        if left is None:
            return
        store: StoreData = self.value(state, STORE)
        lossy, kept = around._replace(left=left, loss=START), around._replace(left=left)
        emptied = StoreData(store.server + 1, store.ahead, datasets=store.datasets)
        yield "Redis is emptied", self.changed(state, {STORE: emptied, AROUND: lossy})
        restarted = store._replace(server=store.server + 1)
        yield "Redis restarts", self.changed(state, {STORE: restarted, AROUND: kept})
        if store.stream:
            yield (
                "Redis fails over and lacks all writes",
                self.changed(state, {STORE: restarted.lagging(), AROUND: lossy}),
            )
        cluster: Cluster = self.value(state, CLUSTER)
        changes: dict[int, object] = {AROUND: lossy, CLUSTER: cluster._replace(state=cluster.state._replace(text=""))}
        for place in SERVERS:
            server: ServerState = self.value(state, place)
            changes[place] = server._replace(seen=server.seen and server.seen._replace(current=False))
        yield "the ledger is emptied", self.changed(state, changes)

    def _restarts(self, state: State, around: Around) -> Moved:
        """A server dies, with all its calls, and another one starts in its place."""
        left = around.left.without("restarts")
        for index, place in enumerate(SERVERS):
            if left is None:
                return
            changes: dict[int, object] = {AROUND: around._replace(left=left), place: ServerState("AB"[index] + "2")}
            for create in CREATES:
                call = self.value(state, create)
                if isinstance(call, Call) and call.server == index:
                    changes[create] = End.OVER
            yield f"server {index} restarts", self.changed(state, changes)

    def _outage(self, state: State, around: Around) -> Moved:
        """Redis stops answering one server or both, or answers again; its clock jumps."""
        if not all(around.reachable):
            since = around.outage[0] if around.outage else START
            yield (
                "Redis answers",
                self.changed(state, {AROUND: around._replace(reachable=(True, True), outage=(since, START))}),
            )
            if any(around.reachable) and (left := around.left.without("outages")):
                cut = around._replace(left=left, reachable=(False, False), outage=(START, float("inf")))
                yield "Redis answers the other one no more", self.changed(state, {AROUND: cut})
        elif left := around.left.without("outages"):
            for reachable in ((False, False), (True, False), (False, True)):
                cut = around._replace(left=left, reachable=reachable, outage=(START, float("inf")))
                yield f"Redis answers {reachable}", self.changed(state, {AROUND: cut})
        if left := around.left.without("steps"):
            for step in STEPS:
                stepped = around._replace(left=left, ahead=max(step, 0.0))
                store = self.value(state, STORE)._replace(ahead=step)
                yield f"clock of Redis {step:+g} s", self.changed(state, {AROUND: stepped, STORE: store})
