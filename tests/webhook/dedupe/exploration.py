"""An exhaustive exploration, breadth first, of everything that can happen to one delivery within bounds.

Nothing is random. Each state is checked: no second run is stored that the documented limits do not explain, and if
everything heals and is quiet from then on, the delivery is not blocked.
"""

from __future__ import annotations

from array import array
from typing import Final

from tests.webhook.dedupe.exploration_moves import DefectError, Moves
from tests.webhook.dedupe.exploration_state import Allowed, Call, End, StoreData
from tests.webhook.dedupe.exploration_steps import (
    AROUND,
    CLUSTER,
    CREATES,
    PROBE,
    STORE,
    Around,
    Left,
    State,
)
from tests.webhook.dedupe.limits import Kept
from webhook.dedupe.settings import DedupeSettings, OnUnproved

#: Longer than everything that is ever waited for, except the retention.
_LONG: Final = 200.0
#: The number of the create that tries whether the delivery is blocked.
_PROBE: Final = len(CREATES)


class Exploration:
    """Explore one setting.

    Args:
        settings: The settings of deduplication.
        left: The bounds.
        creates: How many creates there are at most.
        down: Whether it begins while both servers admit creates without Redis.

    Attributes:
        moves: What can happen.
    """

    def __init__(
        self, settings: DedupeSettings, left: Left, creates: int = len(CREATES), *, down: bool = False
    ) -> None:
        self._settings = settings
        self.moves = Moves(settings)
        initial = self.moves.initial(left, creates)
        self._initial = self.moves.admitting(initial) if down else initial
        self._states: dict[State, None] = {}
        self._parents, self._labels = array("l"), array("l")
        self._healed: set[State] = set()

    @property
    def states(self) -> int:
        """How many states were found."""
        return len(self._states)

    def explore(self) -> None:
        """Visit all states.

        Raises:
            DefectError: A promise is broken; the message has the shortest way to it.
        """
        moves = self.moves
        frontier = [self._add(self._initial, -1, "")]
        index = 0
        while frontier:
            following: list[State] = []
            for state in frontier:
                label = ""
                try:
                    for label, after in moves.after(state):
                        reached = after
                        if moves.value(after, STORE) is not None and moves.has_ended(after):
                            self._check(after)
                            reached = moves.ended(after)
                        if reached not in self._states:
                            following.append(self._add(reached, index, label))
                except DefectError as error:
                    raise DefectError(f"{error}, after: {'; '.join([*self._way(index), label])}") from None
                index += 1
            frontier = following

    def _add(self, state: State, parent: int, label: str) -> State:
        self._states[state] = None
        self._parents.append(parent)
        self._labels.append(self.moves.number(label))
        return state

    def _way(self, index: int) -> list[str]:
        labels: list[str] = []
        while index > 0:
            labels.append(str(self.moves.value((self._labels[index],), 0)))
            index = self._parents[index]
        return labels[::-1]

    def _check(self, state: State) -> None:
        """Check that the delivery is not blocked if nothing else goes wrong."""
        moves = self.moves
        kept = [create for place in CREATES if isinstance(create := moves.value(state, place), Kept)]
        store: StoreData = moves.value(state, STORE)
        state = (*state, moves.number(End.WAITING))
        healed = moves.changed(
            moves.later(state, _LONG),
            {
                AROUND: Around(Left(0, jumps=())),
                **dict.fromkeys(CREATES, End.WAITING),
            },
        )
        if store.ahead:
            healed = moves.changed(healed, {STORE: moves.value(healed, STORE)._replace(ahead=0.0)})
        stored = bool(moves.value(state, CLUSTER).runs)
        key = (*healed, stored, bool(kept))
        if key in self._healed:
            return
        self._healed.add(key)
        end, after = self._probed(self._calmed(healed))
        if end is None and store.ahead:
            # This create may be the first to notice that the clock of Redis was set right.
            end, _ = self._probed(self._calmed(moves.changed(after, {PROBE: End.WAITING})))
        if stored and end is not False:
            raise DefectError(f"the delivery has a run, and its next create ends with {end}")
        if not kept and end is not True and self._settings.on_unproved is OnUnproved.ALLOW:
            raise DefectError("the delivery has never had a run, and is blocked")
        if end is None and self._settings.on_unproved is OnUnproved.ALLOW:
            raise DefectError("the delivery is blocked")

    def _calmed(self, state: State) -> State:
        for _ in range(3):
            state = self.moves.later(self.moves.calm(self.moves.calm(state)), _LONG / 2)
        return self.moves.calm(self.moves.calm(state))

    def _probed(self, state: State) -> tuple[bool | None, State]:
        """Submit the delivery again; returns the end and the state after it.

        The end is True if it is allowed, False for a duplicate, and None if it is refused for now.
        """
        state = self.moves.begun(state, _PROBE, "afterwards", 0)
        while isinstance(self.moves.value(state, PROBE), Call):
            named, state = next(iter(self.moves.answered(state, _PROBE)))
            if named:
                return False, state
        return True if isinstance(self.moves.value(state, PROBE), Allowed) else None, state
