"""A clock that tests move by hand."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass
class ManualClock:
    """A `certs.pacing.Clock` that moves when a test sets it, and when a loop sleeps.

    Attributes:
        moment: The time of day; at first the present.
        random: The value that `jitter` returns.
    """

    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    random: float = 1.0

    def now(self) -> datetime:
        """Return the time of day."""
        return self.moment

    async def sleep(self, seconds: float) -> None:
        """Move the clock, and let other tasks run."""
        await asyncio.sleep(0.01)
        self.moment += timedelta(seconds=seconds)

    def jitter(self) -> float:
        """Return the value given."""
        return self.random
