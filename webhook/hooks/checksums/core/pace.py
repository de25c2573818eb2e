"""When to write: changes close together become one rollout, and one that never ends is slowed down.

Pure functions of time, which is handed in as seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait, in seconds.

    Attributes:
        settle: After the last change, for more to come.
        ceiling: After the first change at most, however many more come.
        backoff: After a rollout of ours that was followed by another change at once, until the next; doubles each time.
        backoff_limit: At most.
    """

    settle: float = 0.2
    ceiling: float = 2.0
    backoff: float = 5.0
    backoff_limit: float = 300.0

    def __post_init__(self) -> None:
        """Hold the order without which waiting would make no sense."""
        if not 0 <= self.settle <= self.ceiling or not 0 <= self.backoff <= self.backoff_limit:
            raise ValueError("settle must not be above ceiling, nor backoff above its limit, nor any below 0")


@dataclass(frozen=True, slots=True)
class Timing:
    """What is remembered of one workload; a new controller begins with none of it.

    Attributes:
        first_change: When the oldest change came that is not rolled yet; None if there is none.
        last_change: When the newest came.
        last_roll: When a checksum was written last.
        streak: How many times in a row that was so soon after the time before that the back-off had not run out.
    """

    first_change: float | None = None
    last_change: float = 0.0
    last_roll: float | None = None
    streak: int = 0

    def changed(self, now: float) -> Timing:
        """Note a change that is to be rolled."""
        first = now if self.first_change is None else self.first_change
        return replace(self, first_change=first, last_change=now)

    def settled(self) -> Timing:
        """Note that there is nothing to be rolled after all."""
        return replace(self, first_change=None)

    def rolled(self, now: float, pace: Pace) -> Timing:
        """Note that the change was written."""
        in_a_row = self.last_roll is not None and now < self.last_roll + 2 * _wait(self.streak, pace)
        return Timing(last_roll=now, streak=self.streak + 1 if in_a_row else 0)

    def due(self, pace: Pace) -> float | None:
        """Return when to write; None if there is nothing to write."""
        if self.first_change is None:
            return None
        settled = min(self.last_change + pace.settle, self.first_change + pace.ceiling)
        return settled if self.last_roll is None else max(settled, self.last_roll + _wait(self.streak, pace))

    def forgettable(self, now: float, pace: Pace) -> bool:
        """Whether it says no more than a new one."""
        quiet = self.last_roll is None or now >= self.last_roll + 2 * _wait(self.streak, pace)
        return self.first_change is None and quiet


def _wait(streak: int, pace: Pace) -> float:
    # Bounded before it is computed: a streak can grow for as long as the process lives.
    return min(pace.backoff_limit, pace.backoff * 2.0 ** min(streak, 32))
