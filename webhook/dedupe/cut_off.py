"""Take a replica out of the Service while it cannot reach Redis and another one provably can."""

from __future__ import annotations

from typing import Final

from webhook.dedupe.outage import StoreOutage
from webhook.dedupe.shared_ledger import SharedLedger
from webhook.errors import KubernetesError, StoreError

#: A replica that says so long after the outage began that it reaches Redis has noticed no outage.
_NOTICED_SECONDS: Final = 5.0


class CutOffError(StoreError):
    """Another server can reach the store, and this one cannot."""


class CutOff:
    """Whether another replica provably answers what this one can only refuse.

    A replica that died just when Redis did has not written since, so it is no proof, and the last one stays ready.

    Args:
        shared: What the other servers have said.
        outage: Since when Redis does not answer this one.
        server: Id of this server.
    """

    def __init__(self, shared: SharedLedger, outage: StoreOutage, *, server: str) -> None:
        self._shared = shared
        self._outage = outage
        self._server = server

    def fault(self) -> str:
        """Return what is wrong with this replica alone; an empty string if nothing is."""
        ledger = self._shared.ledger
        if not self._outage.is_down or not self._shared.is_fresh or ledger is None:
            return ""
        try:
            now = self._shared.server_time()
        except KubernetesError:
            return ""
        since = now - self._outage.age + _NOTICED_SECONDS
        reached = any(not other.down and other.seen > since for other in ledger.others(self._server, now))
        return "Redis: other replicas can reach it, and this one cannot" if reached else ""
