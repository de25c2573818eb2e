"""The steps of servers from any state, and the values that states consist of: each has a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from tests.webhook.dedupe.exploration_rig import Rig
from tests.webhook.dedupe.exploration_state import (
    START,
    Allowed,
    Call,
    Cluster,
    End,
    Outcome,
    ServerState,
    StateView,
    StoreData,
    Surroundings,
    older_create,
)
from tests.webhook.dedupe.limits import Kept
from webhook.dedupe.settings import DedupeSettings


class Left(NamedTuple):
    """What may still happen.

    Attributes:
        faults: All of the following together.
        deletions, losses, restarts, steps, outages: Each of them.
        jumps: For each of `JUMPS`.
    """

    faults: int
    deletions: int = 1
    losses: int = 1
    restarts: int = 1
    steps: int = 1
    outages: int = 1
    jumps: tuple[int, ...] = (1, 1, 3)

    def without(self, fault: str) -> Left | None:
        """Return what is left after a fault; None if it may not happen any more."""
        number: int = getattr(self, fault)
        rest: dict[str, Any] = {"faults": self.faults - 1, fault: number - 1}
        return self._replace(**rest) if self.faults and number else None


class Around(NamedTuple):
    """Everything but the store, the API server, the servers and the creates.

    Attributes:
        left: What may still happen.
        reachable: Whether Redis answers each server.
        outage: When it stopped answering, and when it answered again.
        loss: When something was lost.
        ahead: By how many seconds the clock of Redis was ahead at most.
    """

    left: Left
    reachable: tuple[bool, bool] = (True, True)
    outage: tuple[float, float] | None = None
    loss: float | None = None
    ahead: float = 0.0

    def older(self, seconds: float) -> Around:
        """Return the same some seconds later."""
        outage = self.outage and (self.outage[0] - seconds, self.outage[1] - seconds)
        return self._replace(outage=outage, loss=None if self.loss is None else self.loss - seconds)


#: The numbers of the values of a store, a cluster, two servers, three creates, and what is around them.
State: TypeAlias = tuple[int, ...]
STORE, CLUSTER, AROUND = 0, 1, 7
SERVERS, CREATES = (2, 3), (4, 5, 6)
#: The place of one more create, which is only in states in which a delivery is tried.
PROBE: Final = 8
_PLACES: Final = (*CREATES, PROBE)
Moved: TypeAlias = Iterator[tuple[str, State]]


class Steps:
    """Do steps, and know all values that states consist of.

    Args:
        settings: The settings of deduplication.

    Attributes:
        settings: The same.
        rig: Does the steps.
        waiting: The number of a create that has not begun.
    """

    def __init__(self, settings: DedupeSettings) -> None:
        self.settings = settings
        self.rig = Rig(settings)
        self._numbers: dict[Any, int] = {}
        self._values: list[Any] = []
        self._outcomes: dict[tuple[object, ...], Outcome] = {}
        self._aged: dict[tuple[int, float], int] = {}
        self.waiting = self.number(End.WAITING)

    def number(self, value: object) -> int:
        """Return the number of a value; equal values have the same."""
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def value(self, state: State, place: int) -> Any:
        """Return a value of a state."""
        return self._values[state[place]]

    def changed(self, state: State, changes: dict[int, object]) -> State:
        """Return a state with other values."""
        new = list(state)
        for place, value in changes.items():
            new[place] = self.number(value)
        return tuple(new)

    def initial(self, left: Left, creates: int) -> State:
        """Return the state of a new installation that has been there for a minute."""
        values = (StoreData(), Cluster((), StateView("", START - 1)), ServerState("A"), ServerState("B"))
        waiting = (End.WAITING,) * creates + (End.OVER,) * (len(CREATES) - creates)
        state = tuple(self.number(value) for value in (*values, *waiting, Around(left)))
        for seconds in (0.0, 8.0, 50.0, 8.0):
            state = self.calm(self.later(state, seconds))
        return state

    def admitting(self, state: State) -> State:
        """Return a state after Redis has stopped answering, and both servers may admit creates without it."""
        around: Around = self.value(state, AROUND)
        cut = around._replace(reachable=(False, False), outage=(START, float("inf")))
        state = self.later(self.calm(self.changed(state, {AROUND: cut})), 8.0)
        state = self.calm(self.calm(state))
        for index in range(len(SERVERS)):
            state = self.stepped(state, index, "announce")
        return self.calm(self.later(self.calm(self.calm(state)), 8.0))

    def calm(self, state: State) -> State:
        """Let both servers do what they do again and again."""
        for step in ("keep", "follow"):
            for index in range(len(SERVERS)):
                state = self.stepped(state, index, step)
        return state

    def stepped(self, state: State, index: int, step: str) -> State:
        """Return a state after a server has done a step."""
        return self.applied(state, index, self.outcome(state, index, step))

    def later(self, state: State, seconds: float) -> State:
        """Return a state after time has passed."""
        return tuple(self._older(number, seconds) for number in state) if seconds else state

    def begun(self, state: State, number: int, name: str, index: int) -> State:
        """Return a state after a create was sent to a server, which has asked the store."""
        call = self.rig.begin(number, name, index)
        return self.changed(state, {_PLACES[number]: call})

    def answered(self, state: State, number: int) -> Moved:
        """Yield what can come of the next message of a create, with the name of the run that its answer names."""
        call: Call = self.value(state, _PLACES[number])
        outcome = self.outcome(state, call.server, "advance", number)
        applied = self.applied(state, call.server, outcome)
        for create, named in outcome.creates:
            yield named, self.changed(applied, {_PLACES[number]: create})

    def kept(self, state: State) -> list[Kept]:
        """Return the runs that were stored at some time."""
        return [create for place in CREATES if isinstance(create := self.value(state, place), Kept)]

    def outcome(self, state: State, index: int, step: str, number: int = -1) -> Outcome:
        """Let a server do a step; in the same situation it does the same again."""
        place, reachable = SERVERS[index], self.value(state, AROUND).reachable[index]
        create = state[_PLACES[number]] if step == "advance" else -1
        key = (step, number, create, state[STORE], state[CLUSTER], state[place], reachable)
        if (known := self._outcomes.get(key)) is not None:
            return known
        server = self.value(state, place)
        surroundings = Surroundings(self.value(state, STORE), self.value(state, CLUSTER), reachable)
        match step:
            case "advance":
                outcome = self.rig.advance(number, self._values[create], server, surroundings)
            case "delete":
                outcome = self.rig.note_deletion(number, surroundings, server)
            case "keep":
                outcome = self.rig.keep(server, surroundings)
            case "announce":
                outcome = self.rig.announce(server, surroundings)
            case _:
                outcome = self.rig.follow(server, surroundings)
        self._outcomes[key] = outcome
        return outcome

    def applied(self, state: State, index: int, outcome: Outcome) -> State:
        changes: dict[int, object] = {
            STORE: outcome.store, CLUSTER: outcome.cluster, SERVERS[index]: outcome.server
        }  # fmt: skip
        place = SERVERS[1 - index]
        other: ServerState = self.value(state, place)
        if outcome.wrote and other.seen is not None and other.seen.current:
            changes[place] = other._replace(seen=other.seen._replace(current=False))
        return self.changed(state, changes)

    def _older(self, number: int, seconds: float) -> int:
        key = (number, seconds)
        if key not in self._aged:
            value = self._values[number]
            create = value is None or isinstance(value, End | Call | Allowed | Kept)
            aged = older_create(value, seconds) if create else value.older(seconds)
            self._aged[key] = self.number(aged)
        return self._aged[key]
