"""Every order of events within bounds: no second run, no blocked delivery, and each row of the table is reached."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import pytest

from tests.webhook.dedupe.exploration import Exploration
from tests.webhook.dedupe.exploration_steps import Left
from webhook.dedupe.core.decide import TABLE
from webhook.dedupe.settings import DedupeSettings, OnRedisDown, OnUnproved

#: `make verify` sets it to `full`.
FULL: Final = os.environ.get("ROLLONCE_TEST_EXPLORATION") == "full"
DENY: Final = DedupeSettings(on_redis_down=OnRedisDown.DENY, on_unproved=OnUnproved.DENY)
GENERATED: Final = DedupeSettings()
ALLOW: Final = DedupeSettings(on_redis_down=OnRedisDown.ALLOW)
#: The rows that no event within the bounds leads to, from 0.
NOT_REACHED: Final = {
    2: "no replica of Redis has to acknowledge a reservation",
    3: "no operator forgets a run",
    5: "rollonce may read runs",
    6: "the API server answers all reads",
}


class Bounds(NamedTuple):
    """What is explored.

    Attributes:
        settings: The settings of deduplication.
        left: Faults and jumps of time: 2 s, 8 s and 50 s.
        creates: How many creates.
        down: Whether it begins while both servers admit creates without Redis.
    """

    settings: DedupeSettings
    left: Left
    creates: int = 2
    down: bool = False


SHORT: Final = {
    "deny-time": Bounds(DENY, Left(0, jumps=(1, 0, 2))),
    "deny-one-fault": Bounds(DENY, Left(1, jumps=(0, 0, 0))),
    "generated-time": Bounds(GENERATED, Left(0, jumps=(1, 0, 2))),
    "generated-one-fault": Bounds(GENERATED, Left(1, jumps=(0, 0, 0))),
    "generated-three-creates": Bounds(GENERATED, Left(0, jumps=(0, 0, 0)), 3),
    "generated-outage": Bounds(GENERATED, Left(1, 0, 0, 0, 0, 1, jumps=(0, 1, 0))),
    "allow-outage": Bounds(ALLOW, Left(1, 0, 0, 0, 0, 1, jumps=(0, 1, 0)), 1),
    "generated-admitting": Bounds(GENERATED, Left(0, jumps=(0, 1, 0)), down=True),
    "allow-admitting": Bounds(ALLOW, Left(0, jumps=(0, 0, 0)), down=True),
}
LONG: Final = {
    "deny-time-three-creates": Bounds(DENY, Left(0, jumps=(1, 0, 2)), 3),
    "deny-one-fault-three-creates": Bounds(DENY, Left(1, jumps=(0, 0, 0)), 3),
    "deny-one-fault-late": Bounds(DENY, Left(1, jumps=(0, 0, 2))),
    "deny-two-faults": Bounds(DENY, Left(2, jumps=(0, 0, 0))),
    "generated-two-faults": Bounds(GENERATED, Left(2, jumps=(0, 0, 0))),
    "allow-outage-two-creates": Bounds(ALLOW, Left(1, 0, 0, 0, 0, 1, jumps=(0, 1, 0))),
    "allow-outage-late": Bounds(ALLOW, Left(1, 0, 0, 0, 0, 1, jumps=(0, 2, 0)), 1),
    "allow-admitting-late": Bounds(ALLOW, Left(0, jumps=(0, 1, 0)), down=True),
}


@pytest.mark.timeout(0 if FULL else 600)
def test_nothing_that_can_happen_breaks_a_promise() -> None:
    """All states are visited; an error has the shortest way to the state that breaks a promise."""
    rows: set[int] = set()
    states = 0
    for name, bounds in {**SHORT, **(LONG if FULL else {})}.items():
        exploration = Exploration(bounds.settings, bounds.left, bounds.creates, down=bounds.down)
        try:
            exploration.explore()
        finally:
            exploration.moves.rig.close()
        rows |= exploration.moves.rig.rows
        states += exploration.states
        print(f"{name}: {exploration.states} states; limits: {', '.join(sorted(exploration.moves.limits)) or 'none'}")
    print(f"{states} states; rows {', '.join(str(row + 1) for row in sorted(rows))} of {len(TABLE)}")
    assert rows == set(range(len(TABLE))) - set(NOT_REACHED)
