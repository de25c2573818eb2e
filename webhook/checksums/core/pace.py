"""When to write: changes close together become one rollout, and a workload that rolls again and again is slowed down.

Pure functions of time, which is passed in as seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

#: The longest delay after a write that was undone by others.
REVERTED_LIMIT: Final = 300.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Delays in seconds.

    Attributes:
        settle: Delay after the last change, for further changes.
        ceiling: Longest delay after the first change, for any number of further changes.
        backoff: Shortest time from a rollout to the next one, if changes follow; doubled each time.
        backoff_limit: Upper bound of the backoff.
        reverted: Delay after a write that was undone by others; doubled each time, up to `REVERTED_LIMIT`.

    Raises:
        ValueError: A time is negative, or above its bound.
    """

    settle: float = 0.2
    ceiling: float = 2.0
    backoff: float = 5.0
    backoff_limit: float = 300.0
    reverted: float = 2.0

    def __post_init__(self) -> None:
        """Reject times that contradict each other."""
        if not 0 <= self.settle <= self.ceiling or not 0 <= self.backoff <= self.backoff_limit:
            raise ValueError("settle must not be above ceiling, nor backoff above its limit, nor any below 0")


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one workload; a new controller starts with an empty one.

    Attributes:
        first_change: When the oldest change came that was not rolled out yet; None if there is none.
        last_change: When the newest came.
        last_roll: When a checksum was last written.
        streak: How many rollouts in a row came before the backoff of the one before had passed.
        last_revert: When a write was last undone by others; None if the last one was not.
        reverts: How many writes in a row were undone.
    """

    first_change: float | None = None
    last_change: float = 0.0
    last_roll: float | None = None
    streak: int = 0
    last_revert: float | None = None
    reverts: int = 0

    def changed(self, now: float) -> Timing:
        """Return the times after a change that has to be rolled out."""
        first = now if self.first_change is None else self.first_change
        return replace(self, first_change=first, last_change=now)

    def settled(self) -> Timing:
        """Return the times after it turned out that nothing has to be rolled out."""
        return replace(self, first_change=None)

    def accepted(self) -> Timing:
        """Return the times after nothing has to be written, or a write was not undone."""
        return replace(self, last_revert=None, reverts=0)

    def rolled(self, now: float, pace: Pace) -> Timing:
        """Return the times after the change was written."""
        in_a_row = self.last_roll is not None and now < self.last_roll + 2 * _backoff(self.streak, pace)
        return Timing(last_roll=now, streak=self.streak + 1 if in_a_row else 0)

    def reverted(self, now: float) -> Timing:
        """Return the times after a write that was undone by others."""
        return replace(self, last_revert=now, reverts=self.reverts + 1)

    def due(self, pace: Pace) -> float | None:
        """Return when to write; None if there is nothing to wait for."""
        due: list[float] = []
        if self.first_change is not None:
            due.append(min(self.last_change + pace.settle, self.first_change + pace.ceiling))
            if self.last_roll is not None:
                due.append(self.last_roll + _backoff(self.streak, pace))
        if self.last_revert is not None:
            due.append(self.last_revert + _doubled(pace.reverted, self.reverts - 1, REVERTED_LIMIT))
        return max(due) if due else None

    def is_forgettable(self, now: float, pace: Pace) -> bool:
        """Return whether the times have no effect any more, so that they can be dropped."""
        quiet = self.last_roll is None or now >= self.last_roll + 2 * _backoff(self.streak, pace)
        return self.first_change is None and self.last_revert is None and quiet


def _backoff(streak: int, pace: Pace) -> float:
    return _doubled(pace.backoff, streak, pace.backoff_limit)


def _doubled(first: float, times: int, limit: float) -> float:
    # The exponent is bounded first: a streak can grow for as long as the process lives.
    return min(limit, first * 2.0 ** min(times, 32))
