"""The look at a store, before it is trusted and ever after: what is unsafe is said, or refused under `strict`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.errors import StoreError
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Store

_CALL_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 5.0


class UnsafeStoreError(StoreError):
    """The store could lose what it is told, and `strict` is set."""


class Inspector:
    """Looks at every server of the store.

    Args:
        store: What is looked at.
        settings: Whether an unsafe store is refused.
        monotonic: A monotonic clock, in seconds.
        sleep: Waits for seconds.
        log: Told of each finding, once for as long as it lasts.
        metrics: Told how many there are.
    """

    def __init__(
        self,
        store: Store,
        settings: DedupeSettings,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        log: FilteringBoundLogger,
        metrics: DedupeMetrics,
    ) -> None:
        self._store = store
        self._strict = settings.strict
        self._monotonic = monotonic
        self._sleep = sleep
        self._log = log
        self._metrics = metrics
        self._told: frozenset[str] = frozenset()

    async def ask(self, deadline: Deadline) -> None:
        """Ask whether the store can be used: it answers and, under `strict`, is safe.

        Raises:
            UnsafeStoreError: It is not safe, and `strict` is set.
            StoreError: It did not answer.
        """
        if not self._strict:
            await self._store.ping(deadline)
        elif found := await self.inspect(deadline):
            raise UnsafeStoreError("The deduplication store is not safe, and strict is set: " + " ".join(found))

    async def inspect(self, deadline: Deadline) -> tuple[str, ...]:
        """Look at all servers once, and return what was found.

        Raises:
            StoreError: One of them did not answer.
        """
        found = await self._store.findings(deadline)
        for finding in found:
            if finding not in self._told:
                self._log.warning("The deduplication store is not safe.", finding=finding)
        if self._told and not found:
            self._log.info("The deduplication store is safe again.")
        self._told = frozenset(found)
        self._metrics.findings.set(len(found))
        return found

    async def run(self) -> None:
        """Look again and again, since a server can be replaced by another; ends only by cancellation."""
        while True:
            try:
                await self.inspect(Deadline.after(_CALL_SECONDS, self._monotonic))
            except StoreError as error:
                self._log.debug("The deduplication store could not be inspected.", error=str(error))
                await self._sleep(_RETRY_SECONDS)
            else:
                await self._sleep(_CHECK_SECONDS)
