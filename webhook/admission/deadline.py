"""The point in time by which an answer has to be on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from webhook.errors import DeadlineExceededError


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on a monotonic clock.

    Attributes:
        at: When time is up, in seconds of `clock`.
        clock: A monotonic clock, handed in so that nothing here reads the time by itself.
    """

    at: float
    clock: Callable[[], float]

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float]) -> Deadline:
        """Make a deadline that is so many seconds away."""
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Return the seconds left; never negative."""
        return max(0.0, self.at - self.clock())

    def within(self, seconds: float) -> Deadline:
        """Return the sooner of this deadline and one so many seconds away."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def fraction(self, share: float) -> Deadline:
        """Return a deadline at which the given share (0 to 1) of the time left now will have passed."""
        return Deadline(self.clock() + share * self.remaining(), self.clock)

    def require(self) -> float:
        """Return the seconds left.

        Raises:
            DeadlineExceededError: There are none.
        """
        if (left := self.remaining()) <= 0:
            raise DeadlineExceededError("The time that the caller gave is over.")
        return left
