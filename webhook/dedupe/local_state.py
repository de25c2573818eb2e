"""What this replica knows beyond the store's answers: outages, what it remembers, and what other replicas have said."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from webhook.dedupe.core.decide import Recall
from webhook.dedupe.core.identity import RecordAddress
from webhook.dedupe.core.reservation import ReserveResult
from webhook.dedupe.ledger_keeper import LedgerKeeper
from webhook.dedupe.outage import StoreOutage
from webhook.dedupe.recollection import Recollection
from webhook.dedupe.restart import RestartProof
from webhook.dedupe.unsynced import UnsyncedBuckets
from webhook.errors import StoreError
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

#: A stall of the store that ends sooner is waited out.
_STALL_SECONDS: Final = 5.0
#: A stall that has lasted for so long may become an outage.
_OUTAGE_SECONDS: Final = 1.5
#: For so long after a restart of the store it is not known yet whether anything was lost.
_RESTART_MS: Final = 3_000
#: About 300 bytes each.
_MOST_ADMITTED: Final = 10_000


class LocalState:
    """The state of one server.

    Args:
        outage: Since when the store does not answer.
        recollection: What is remembered without the store.
        keeper: What other servers have said.
        restart: Whether a restart of the store is being examined.
        unsynced: The creates that were admitted without a record.
        api: For the API server's time.
        clock: Monotonic time.
        lease: The lease of a reservation in seconds.
    """

    def __init__(
        self,
        outage: StoreOutage,
        recollection: Recollection,
        keeper: LedgerKeeper,
        restart: RestartProof,
        *,
        unsynced: UnsyncedBuckets,
        api: KubernetesApi,
        clock: Clock,
        lease: float,
    ) -> None:
        self._outage = outage
        self._recollection = recollection
        self._keeper = keeper
        self._restart = restart
        self._api = api
        self._clock = clock
        self._lease = lease
        self._admitted: OrderedDict[RecordAddress, tuple[str, float]] = OrderedDict()
        self.unsynced = unsynced

    @property
    def api_time_ms(self) -> int:
        """The API server's time in ms since 1970; 0 if unknown."""
        return int(self._api.server_time() * 1000)

    @property
    def trusted(self) -> bool:
        """Whether a missing record proves what the store says that it does."""
        return self._keeper.trusted

    @property
    def outage_seconds(self) -> float:
        """For how long the store has not answered; 0 if it does."""
        return self._outage.age

    @contextmanager
    def asking_store(self) -> Iterator[None]:
        """Note whether the store answers."""
        try:
            yield
        except StoreError:
            self._outage.failed()
            raise
        self._outage.succeeded()

    def recall(self, address: RecordAddress, name: str) -> Recall:
        """Return whether a create of a delivery is remembered, other than one of this name without a record."""
        if self._admitted_name(address) not in {"", name}:
            return Recall.YES
        remembered = self._recollection.recall(address.digest)
        return Recall.BLIND if remembered is Recall.NO and self._keeper.stagger.others_went_on else remembered

    def admit(self, address: RecordAddress, name: str) -> bool:
        """Remember the name under which a create is admitted without a record.

        Returns:
            False if one of another name was admitted a short time ago, and may not be stored yet.
        """
        if self._admitted_name(address) not in {"", name}:
            return False
        self._admitted[address] = (name, self._clock.monotonic())
        self._admitted.move_to_end(address)
        if len(self._admitted) > _MOST_ADMITTED:
            self._admitted.popitem(last=False)
        return True

    def _admitted_name(self, address: RecordAddress) -> str:
        name, at = self._admitted.get(address, ("", 0.0))
        return name if name and self._clock.monotonic() - at < self._lease else ""

    def remember(self, address: RecordAddress) -> None:
        """Remember that a create of a delivery was allowed."""
        self._recollection.add((address.digest,))

    def may_wait(self, patience: Deadline) -> bool:
        """Return whether the store may answer again soon."""
        return patience.remaining() > 0 and self._outage.age < _STALL_SECONDS

    def doubt_may_end(self, result: ReserveResult) -> bool:
        """Return whether a doubt may be settled within seconds."""
        return result.doubted or self._restart.open or result.now - result.mark.lost_at < _RESTART_MS

    def expect_outage(self) -> None:
        """Let the other servers know early that this one cannot reach the store."""
        if self._outage.age > _OUTAGE_SECONDS:
            self._keeper.hurry()

    async def admission(self, deadline: Deadline) -> float:
        """Return for how many seconds no create may be admitted without the store yet; see `LedgerKeeper.admission`.

        Raises:
            StoreError: Another server can reach the store.
            KubernetesError: No create may be admitted, because the other servers cannot know it.
            LedgerError: As above.
        """
        return await self._keeper.admission(deadline)
