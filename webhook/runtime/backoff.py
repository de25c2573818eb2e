"""Growing delays between attempts. Pure: time and randomness are passed in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double with each failure in a row, in seconds.

    Attributes:
        first: Upper bound of the delay after the first failure.
        limit: Upper bound of any delay.

    Raises:
        ValueError: `first` is not positive or is above `limit`.
    """

    first: float = 0.2
    limit: float = 30.0

    def __post_init__(self) -> None:
        """Reject delays that cannot be waited for."""
        if not 0 < self.first <= self.limit:
            raise ValueError("the first delay must be positive and not above the limit")

    def delay(self, failures: int, jitter: float) -> float:
        """Return the delay before the next attempt.

        Args:
            failures: Failures in a row before this one.
            jitter: From 0 to 1; the delay is between half of its upper bound and all of it.
        """
        # The exponent is bounded first: failures can go on for as long as the process lives.
        bound = min(self.limit, self.first * 2.0 ** min(failures, 64))
        return bound * (0.5 + 0.5 * jitter)
