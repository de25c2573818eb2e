"""The point in time by which an answer has to be sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from webhook.errors import DeadlineExceededError


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on a monotonic clock.

    Attributes:
        at: The end, in seconds of `clock`.
        clock: A monotonic clock, in seconds. It is passed in, so that this module never reads the time by itself.
    """

    at: float
    clock: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float]) -> Deadline:
        """Return a deadline that many seconds from now."""
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Return the seconds left; never negative."""
        return max(0.0, self.at - self.clock())

    def within(self, seconds: float) -> Deadline:
        """Return the earlier of this deadline and one that many seconds from now."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def fraction(self, share: float) -> Deadline:
        """Return the deadline at which the given share (0 to 1) of the time left now has passed."""
        return Deadline(self.clock() + share * self.remaining(), self.clock)

    def require(self) -> float:
        """Return the seconds left.

        Raises:
            DeadlineExceededError: No time is left.
        """
        if (left := self.remaining()) <= 0:
            raise DeadlineExceededError("The time allowed by the caller is over.")
        return left
