"""Keep the ledger: tell the other servers what must outlive this process, and learn the same from them.

A server admits creates without the store only while no other server can reach the store either. It says so in the
ledger before, and waits until every other server can know it. A server that has not read the ledger for a few seconds,
or finds in it that another one admits without the store, does not take a missing record for a proof. What a server that
has died left in the ledger is settled by any other one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from webhook.dedupe.buckets import Buckets
from webhook.dedupe.core.continuity import Continuity
from webhook.dedupe.core.ledger import CLOCKS_SECONDS, NOTICE_SECONDS, Ledger, Server
from webhook.dedupe.core.stagger import Stagger
from webhook.dedupe.cut_off import CutOffError
from webhook.dedupe.ledger_store import LedgerConflictError, LedgerMissingError
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.outage import StoreOutage
from webhook.dedupe.positions import Positions
from webhook.dedupe.shared_ledger import SharedLedger
from webhook.dedupe.unsynced import UnsyncedBuckets
from webhook.errors import KubernetesError, RollonceError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import ChangeLogger, Logger

#: How often the ledger is read, and how often this server writes that it is there.
_READ_SECONDS: Final = 2.0
_HEARTBEAT_SECONDS: Final = 10.0
#: An empty ConfigMap of this age can be that of a new installation.
_NEW_SECONDS: Final = 600.0
_CALL_SECONDS: Final = 5.0


class LedgerKeeper:
    """Keep the ledger.

    Args:
        shared: The ledger.
        buckets: Where doubts are written to.
        unsynced: The creates that this process has admitted without a record.
        outage: Since when the store does not answer.
        positions: How far this process has seen the writes.
        server: Id of this process.
        is_new: Asks whether the store and the cluster hold nothing of any delivery.
        clock: Monotonic time.
        log: Receives failures and doubts.
        metrics: Whether missing records are trusted.
    """

    def __init__(
        self,
        shared: SharedLedger,
        buckets: Buckets,
        unsynced: UnsyncedBuckets,
        outage: StoreOutage,
        positions: Positions,
        *,
        server: str,
        is_new: Callable[[], Awaitable[bool]],
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._shared, self._buckets, self._unsynced = shared, buckets, unsynced
        self._outage, self._positions, self._server = outage, positions, server
        self._is_new = is_new
        self._clock, self._log = clock, log
        self._changes, self._missing = ChangeLogger(log), ChangeLogger(log)
        self._metrics = metrics
        self._hurry = asyncio.Event()
        self._continuity, self.stagger = Continuity(server), Stagger(server)
        self._heartbeat_at: float | None = None
        self._agrees = ""
        self._retired = False
        #: Until when this server may admit without the store, by the time of the API server.
        self._admits_until = 0.0

    @property
    def trusted(self) -> bool:
        """Whether a missing record proves what the store says that it does."""
        ledger = self._shared.ledger
        outages = ledger.outages if ledger else {}
        registered = self._shared.seen is None or self._continuity.registered_at is not None
        known = self._shared.is_fresh and self._continuity.doubt_due is False and registered
        return known and not set(outages) - {self._server}

    def agree(self, servers: str) -> Ledger | None:
        """Tell the others that a restart of the store has lost nothing that this process knows of.

        Args:
            servers: The replication ids of the store's servers that were restarted.

        Returns:
            The ledger if all others say the same; otherwise None, and the ledger is read again soon.
        """
        ledger = self._shared.ledger
        if self._agrees == servers and ledger and ledger.all_agree(servers):
            return ledger
        if self._agrees != servers:
            self._agrees, self._heartbeat_at = servers, None
        self.hurry()
        return None

    async def admission(self, deadline: Deadline) -> float:
        """Say that this server admits creates without the store, unless it has said so already.

        Returns:
            For how many seconds no create may be admitted yet, so that all others know; 0 for none.

        Raises:
            CutOffError: Another server can reach the store.
            KubernetesError: It could not be said, so no create may be admitted.
            LedgerError: As above.
        """
        known = self._shared.ledger
        if self._outage.is_down and known and not self._others_are_down(known):
            raise CutOffError("Another replica can reach Redis, and this one cannot.")
        if self._shared.server_time() > self._admits_until - CLOCKS_SECONDS:
            await self._update(self._with_outage, deadline)
        ledger, now = self._shared.current(), self._shared.server_time()
        outage = ledger.outages.get(self._server)
        if outage is None or not self._shared.is_fresh or not self._others_are_down(ledger):
            raise KubernetesError("It is unknown whether the other servers know that this one admits without Redis.")
        self._admits_until = outage.until
        if ledger.others(self._server, now):
            return max(0.0, self.stagger.told_at + NOTICE_SECONDS - self._clock.monotonic())
        # A server that is not in the ledger, because it found no ConfigMap, has trusted that for no longer than this.
        return max(0.0, (self._continuity.registered_at or 0.0) + NOTICE_SECONDS - self._clock.monotonic())

    async def run(self) -> None:
        """Keep the ledger until cancelled."""
        while True:
            self._hurry.clear()
            await self.step()
            self._metrics.trusted.set(self.trusted)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_READ_SECONDS):
                    await self._hurry.wait()

    async def step(self) -> None:
        """Read the ledger, and write to it what is due."""
        if self._retired:
            return
        try:
            exists = await self._read()
            # Without the store nothing can be settled, but the others must learn that this server is there.
            failure = await self._settled(exists=exists)
            if exists and self._continuity.doubt_due is False:
                await self._update(self._with_what_is_due, self._deadline())
            if failure:
                raise failure
        except RollonceError as error:
            self._changes.failed("state of deduplication cannot be kept", str(error))
        else:
            self._changes.recovered("state of deduplication is kept again")

    def hurry(self) -> None:
        """Read and write the ledger now."""
        self._hurry.set()

    async def retire(self) -> None:
        """Take this server out of the ledger, so that the others do not wait for it; its writes stay there."""
        self._retired = True
        with contextlib.suppress(RollonceError):
            await self._shared.update(
                lambda ledger: self._with_this_server(ledger).without_server(self._server), self._deadline()
            )

    async def _read(self) -> bool:
        """Read the ledger; returns whether its ConfigMap exists."""
        try:
            await self._shared.read(self._deadline())
        except LedgerMissingError as error:
            self._continuity.missing()
            self._missing.failed("state of deduplication is missing", str(error))
            return False
        self._missing.recovered("state of deduplication exists again")
        self._note()
        return True

    def _note(self) -> None:
        seen, now = self._shared.seen, self._clock.monotonic()
        if seen is None:
            return
        if self._continuity.found(seen.ledger, seen.uid, now):
            self._log.warning("state of deduplication was replaced")
        if seen.ledger is not None:
            began = self._shared.server_time() - self._outage.age if self._outage.is_down else None
            self.stagger.note(seen.ledger, began=began, now=now)

    async def _settled(self, *, exists: bool) -> RollonceError | None:
        try:
            if self._continuity.doubt_due:
                await self._settle_doubt()
            if exists:
                await self._settle()
        except RollonceError as error:
            return error
        return None

    async def _settle_doubt(self) -> None:
        """Put all buckets in doubt, or none if this is the first server of a new installation."""
        now, deadline = self._shared.server_time(), self._deadline()
        new = await self._begins_installation(now)
        # Of several servers that start at the same time another one may have begun the ledger meanwhile.
        if not new and await self._read() and not self._continuity.doubt_due:
            return
        if not new:
            await self._declare_lost(now, deadline)
            self._log.warning("all records of deduplication are in doubt")
        if self._shared.is_empty:
            try:
                await self._shared.begin(self._with_this_server(Ledger()), deadline)
            except LedgerConflictError:
                await self._read()
                return
        if new:
            await self._buckets.declare_all_synced(deadline)
            self._log.info("deduplication store is new")
        self._continuity.settled()
        self._note()

    async def _begins_installation(self, now: float) -> bool:
        seen = self._shared.seen if self._shared.is_empty else None
        return seen is not None and now - seen.created_at < _NEW_SECONDS and await self._is_new()

    async def _settle(self) -> None:
        """Note in the store what it lacks: the creates of servers that are gone, and those of this one."""
        ledger, now = self._shared.current(), self._shared.server_time()
        for server, outage in ledger.ended_outages(now).items():
            if server != self._server:
                await self._declare_lost(outage.until, self._deadline())
                await self._update(partial(Ledger.without_outage, server=server, settled=outage), self._deadline())
                self._log.warning("creates that a server admitted without Redis were noted", server=server)
        if self._server in ledger.outages and self._outage.since is None:
            self._admits_until = 0.0
            await self._unsynced.mark_all(self._deadline())

    def _others_are_down(self, ledger: Ledger) -> bool:
        return ledger.others_are_down(self._server, self._shared.server_time())

    def _with_what_is_due(self, ledger: Ledger) -> Ledger:
        registered = self._continuity.registered_at is not None
        due = (
            not registered
            or self._heartbeat_at is None
            or self._clock.monotonic() - self._heartbeat_at >= _HEARTBEAT_SECONDS
        )
        own, entry = ledger.outages.get(self._server), ledger.servers.get(self._server)
        if own is not None and not self._admits_until and not self._unsynced:
            return ledger.without_outage(self._server, own)
        if own is not None and due and self._outage.is_down and self._others_are_down(ledger):
            return self._with_this_server(self._with_outage(ledger))
        changed = entry is None or entry.down != self._outage.is_down
        return self._with_this_server(ledger) if due or changed else ledger

    def _with_this_server(self, ledger: Ledger) -> Ledger:
        entry = Server(self._shared.server_time(), self._agrees, self._outage.is_down)
        return ledger.with_server(self._server, entry, self._positions.known)

    def _with_outage(self, ledger: Ledger) -> Ledger:
        return ledger.with_outage(self._server, self._shared.server_time())

    async def _update(self, change: Callable[[Ledger], Ledger], deadline: Deadline) -> None:
        """Change the ledger, and write with each change that this server is there.

        Raises:
            KubernetesError: It could not be read or written, or all buckets have to be put in doubt before.
            LedgerError: It cannot be decoded.
        """

        def changed(ledger: Ledger) -> Ledger:
            self._note()
            if self._continuity.doubt_due is not False:
                raise KubernetesError("The state of deduplication was emptied or replaced.")
            new = change(ledger)
            return ledger if new == ledger else self._with_this_server(new)

        before = self._shared.seen
        await self._shared.update(changed, deadline)
        if self._shared.seen is not before:
            self._heartbeat_at = self._clock.monotonic()
        self._note()

    async def _declare_lost(self, at: float, deadline: Deadline) -> None:
        ago = max(0, int((self._shared.server_time() - at) * 1000))
        await asyncio.gather(
            *(self._buckets.declare_lost(bucket, deadline, ago=ago) for bucket in self._buckets.numbers)
        )

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_CALL_SECONDS)
