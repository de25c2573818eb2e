"""Whether another server could reach the store for longer than this one: then it has allowed creates unknown here."""

from __future__ import annotations

from typing import Final

from webhook.dedupe.core.ledger import Ledger

#: Servers that lose the store together say so within this time.
_TOGETHER_SECONDS: Final = 10.0


class Stagger:
    """Watch what the other servers say while this one cannot reach the store.

    Args:
        server: Id of this server.

    Attributes:
        others_went_on: Whether another server could still reach the store well after this one could not.
        told_at: When the ledger was first seen with the present outage of this server, in monotonic time: all that the
            others read after that has it.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._down: dict[str, bool] = {}
        self._told_since = 0.0
        self.others_went_on = False
        self.told_at = 0.0

    def note(self, ledger: Ledger, *, began: float | None, now: float) -> None:
        """Note what the ledger says.

        Args:
            ledger: As it was just read.
            began: When this server has lost the store, by the API server's clock; None if it has not.
            now: Monotonic time.
        """
        outage = ledger.outages.get(self._server)
        if outage is not None and outage.since != self._told_since:
            self._told_since, self.told_at = outage.since, now
        others = {name: entry for name, entry in ledger.servers.items() if name != self._server}
        if began is None:
            self.others_went_on = False
        elif any(
            entry.seen > began + _TOGETHER_SECONDS and not (entry.down and self._down.get(name, False))
            for name, entry in others.items()
        ):
            self.others_went_on = True
        self._down = {name: entry.down for name, entry in others.items()}
