"""Follow the store, once a second: what was reserved, what is pending, and whether a restart has lost anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from webhook.dedupe.buckets import Buckets, Tick
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.ledger import BucketPosition
from webhook.dedupe.outage import StoreOutage
from webhook.dedupe.positions import Positions
from webhook.dedupe.recollection import Recollection
from webhook.dedupe.restart import RestartProof
from webhook.dedupe.verifier import Verifier
from webhook.errors import DataError, RollonceError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import ChangeLogger, Logger

_PERIOD_SECONDS: Final = 1.0
_CALL_SECONDS: Final = 2.0


class Follower:
    """Read what has happened in all buckets, and pass it on.

    Args:
        buckets: The store.
        recollection: Remembers reservations.
        positions: Remembers how far the writes have been seen.
        restart: Decides whether a restart has lost anything.
        verifier: Resolves pending reservations.
        confirmer: Has confirmations that wait for the store.
        outage: Since when the store does not answer.
        clock: Monotonic time and sleep.
        log: Receives failures.
    """

    def __init__(
        self,
        buckets: Buckets,
        recollection: Recollection,
        positions: Positions,
        restart: RestartProof,
        verifier: Verifier,
        *,
        confirmer: Confirmer,
        outage: StoreOutage,
        clock: Clock,
        log: Logger,
    ) -> None:
        self._buckets = buckets
        self._recollection = recollection
        self._positions = positions
        self._restart = restart
        self._verifier = verifier
        self._confirmer = confirmer
        self._outage = outage
        self._clock = clock
        self._changes = ChangeLogger(log)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            verifying: asyncio.Task[None] | None = None
            while True:
                idle = verifying is None or verifying.done()
                asked = self._clock.monotonic()
                ticks, answered = await self.step(verify=idle), self._clock.monotonic()
                due = [pending for tick in ticks for pending in tick.due]
                if due:
                    now = max(tick.now for tick in ticks)
                    verifying = group.create_task(self._verifier.verify(due, now=now, asked=asked, answered=answered))
                await self._clock.sleep(_PERIOD_SECONDS)

    async def step(self, *, verify: bool = True) -> Sequence[Tick]:
        """Read all buckets once.

        Args:
            verify: Whether to take pending reservations that are due.

        Returns:
            What was read; nothing if the store did not answer.
        """
        deadline = self._deadline()
        try:
            ticks = await asyncio.gather(
                *(
                    self._buckets.tick(bucket, self._recollection.last_read(bucket), deadline, pending=verify)
                    for bucket in self._buckets.numbers
                )
            )
            self._recollection.follow(ticks)
            for tick in ticks:
                if tick.mark.synced:
                    self._positions.note_synced(tick.bucket, BucketPosition(tick.dataset, tick.writes))
            await self._restart.check(ticks, deadline)
        except RollonceError as error:
            if not isinstance(error, DataError):
                self._outage.failed()
            self._changes.failed("deduplication store cannot be followed", str(error))
            return ()
        self._outage.succeeded()
        self._changes.recovered("deduplication store can be followed again")
        # Those that take too long stay postponed.
        with contextlib.suppress(RollonceError):
            await self._confirmer.confirm_postponed(self._deadline())
        return ticks

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)
