"""Since when the store does not answer, as one replica sees it."""

from __future__ import annotations

from typing import Final

from webhook.dedupe.metrics import DedupeMetrics
from webhook.runtime.clock import Clock

#: A store that answers again sooner is not down.
_DOWN_SECONDS: Final = 1.0


class StoreOutage:
    """Remember when the store stopped answering.

    Args:
        clock: Monotonic time.
        metrics: Says whether the store is down.
    """

    def __init__(self, clock: Clock, metrics: DedupeMetrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._since: float | None = None

    @property
    def since(self) -> float | None:
        """When the first call failed after the last success, in monotonic time; None if the store answers."""
        return self._since

    @property
    def age(self) -> float:
        """For how many seconds the store has not answered; 0 if it answers."""
        return 0.0 if self._since is None else self._clock.monotonic() - self._since

    @property
    def is_down(self) -> bool:
        """Whether the store has not answered for so long that it counts as down."""
        return self.age > _DOWN_SECONDS

    def failed(self) -> None:
        """Note that a call has failed."""
        if self._since is None:
            self._since = self._clock.monotonic()
        self._metrics.store_down.set(1)

    def succeeded(self) -> None:
        """Note that a call has succeeded."""
        self._since = None
        self._metrics.store_down.set(0)
