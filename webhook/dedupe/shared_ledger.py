"""The ledger as this process has seen it last, and changes of it that never undo those of another server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from webhook.dedupe.core.ledger import TRUSTED_SECONDS, Ledger
from webhook.dedupe.ledger_store import (
    LedgerConflictError,
    LedgerForbiddenError,
    LedgerMissingError,
    LedgerStore,
    StoredLedger,
)
from webhook.errors import KubernetesError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

_ATTEMPTS: Final = 10


class SharedLedger:
    """Read and change the ledger.

    Args:
        store: Where it is kept.
        clock: Monotonic time.

    Attributes:
        seen: What was read or written last; None if the ConfigMap does not exist, or was not read yet.
        read_at: A time at which that was the ledger, in monotonic time; None before the first answer.
    """

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()
        self.seen: StoredLedger | None = None
        self.read_at: float | None = None
        self._forbidden = False

    @property
    def ledger(self) -> Ledger | None:
        """The ledger as it was read or written last; None if there is none, or none is known."""
        return self.seen.ledger if self.seen else None

    @property
    def is_empty(self) -> bool:
        """Whether the ConfigMap exists and holds no ledger."""
        return self.seen is not None and self.seen.ledger is None

    async def require_member(self, server: str) -> None:
        """Check that a server is in the ledger, or that there is none to be in, or none that it may write to.

        Raises:
            KubernetesError: It is not, or it is not known yet.
        """
        if self._forbidden:
            return
        if self.read_at is None:
            raise KubernetesError("The state of deduplication has not been read yet.")
        if self.seen is not None and (self.ledger is None or server not in self.ledger.servers):
            raise KubernetesError("This server could not write to the state of deduplication yet.")

    @property
    def is_fresh(self) -> bool:
        """Whether what was read last can be relied on."""
        return self.read_at is not None and self._clock.monotonic() - self.read_at <= TRUSTED_SECONDS

    def server_time(self) -> float:
        """Return the API server's time in seconds since 1970.

        Raises:
            KubernetesError: It is unknown.
        """
        now = self._store.server_time()
        if not now:
            raise KubernetesError("The API server's time is unknown.")
        return now

    def current(self) -> Ledger:
        """Return the ledger.

        Raises:
            KubernetesError: There is none.
        """
        ledger = self.ledger
        if ledger is None:
            raise KubernetesError("The state of deduplication is missing, or was emptied.")
        return ledger

    async def read(self, deadline: Deadline) -> None:
        """Read the ledger.

        Raises:
            LedgerMissingError: The ConfigMap does not exist.
            KubernetesError: It cannot be read.
            LedgerError: Its contents cannot be decoded.
        """
        async with self._lock:
            await self._read(deadline)

    async def update(self, change: Callable[[Ledger], Ledger], deadline: Deadline) -> None:
        """Change the ledger, however often others change it meanwhile.

        Args:
            change: Returns the new ledger for the present one. If both are equal, nothing is written. It may raise.
            deadline: When to give up.

        Raises:
            KubernetesError: There is no ledger, or it could not be read or written.
            LedgerError: It cannot be decoded.
        """
        async with self._lock:
            for _ in range(_ATTEMPTS):
                present = self.current()
                changed = change(present)
                if changed == present:
                    return
                try:
                    await self._write(changed, deadline)
                except LedgerConflictError:
                    await self._read(deadline)
                else:
                    return
        raise KubernetesError("The state of deduplication kept changing.")

    async def begin(self, ledger: Ledger, deadline: Deadline) -> None:
        """Write the ledger into a ConfigMap that was read and is empty.

        Raises:
            LedgerConflictError: It has changed since.
            KubernetesError: It could not be written.
        """
        async with self._lock:
            await self._write(ledger, deadline)

    async def _read(self, deadline: Deadline) -> None:
        started = self._clock.monotonic()
        try:
            with self._noting_rights():
                self.seen = await self._store.read(deadline)
        except LedgerMissingError:
            self.seen, self.read_at = None, started
            raise
        self.read_at = started

    async def _write(self, ledger: Ledger, deadline: Deadline) -> None:
        started = self._clock.monotonic()
        if self.seen is None:
            raise KubernetesError("The state of deduplication is missing.")
        with self._noting_rights():
            self.seen = await self._store.write(self.seen, ledger, deadline)
        self.read_at = started

    @contextmanager
    def _noting_rights(self) -> Iterator[None]:
        try:
            yield
        except LedgerForbiddenError:
            self._forbidden = True
            raise
        self._forbidden = False
