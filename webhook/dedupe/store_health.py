"""Check whether the configuration and state of the store are safe, before it is used and from then on."""

from __future__ import annotations

from typing import Final

from webhook.dedupe.buckets import Buckets
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.errors import StoreError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger

_CALL_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0


class UnsafeStoreError(StoreError):
    """The store could lose records, and `strict` is set."""


class StoreHealth:
    """Check every server of the store.

    Args:
        buckets: The store.
        settings: Whether an unsafe store is used.
        clock: Monotonic time and sleep.
        log: Receives each finding, once for as long as it lasts.
        metrics: Receives the number of findings.
    """

    def __init__(
        self, buckets: Buckets, settings: DedupeSettings, *, clock: Clock, log: Logger, metrics: DedupeMetrics
    ) -> None:
        self._buckets = buckets
        self._strict = settings.strict
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._logged: frozenset[str] = frozenset()

    async def require_usable(self, deadline: Deadline) -> None:
        """Check that the store answers and, under `strict`, that it is safe.

        Raises:
            UnsafeStoreError: It is not safe, and `strict` is set.
            StoreError: It did not answer.
        """
        if not self._strict:
            await self._buckets.ping(deadline)
        elif found := await self.check(deadline):
            raise UnsafeStoreError("The deduplication store is not safe, and strict is set: " + " ".join(found))

    async def check(self, deadline: Deadline) -> tuple[str, ...]:
        """Check all servers once, and return, log and count what is unsafe.

        Raises:
            StoreError: A server did not answer.
        """
        found = await self._buckets.findings(deadline)
        for finding in found:
            if finding not in self._logged:
                self._log.warning("deduplication store is not safe", finding=finding)
        if self._logged and not found:
            self._log.info("deduplication store is safe again")
        self._logged = frozenset(found)
        self._metrics.findings.set(len(found))
        return found

    async def run(self) -> None:
        """Check again and again until cancelled, since a server can be replaced by another."""
        while True:
            try:
                await self.check(self._clock.deadline(_CALL_SECONDS))
            except StoreError as error:
                self._log.debug("deduplication store cannot be checked", problem=str(error))
                await self._clock.sleep(_RETRY_SECONDS)
            else:
                await self._clock.sleep(_CHECK_SECONDS)
