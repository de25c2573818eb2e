"""Whether the ledger has been there all the time since a server has written to it."""

from __future__ import annotations

from webhook.dedupe.core.ledger import Ledger


class Continuity:
    """Notice when what was written to the ledger is lost: its ConfigMap was deleted, replaced or emptied.

    Args:
        server: Id of the server.

    Attributes:
        doubt_due: Whether all buckets have to be put in doubt, because outages may have been lost; None before the
            first answer about the ledger.
        registered_at: Since when the server is in the ledger, in monotonic time; None if it is not.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._uid = ""
        self._was_registered = False
        self._seen = 0.0
        self.doubt_due: bool | None = None
        self.registered_at: float | None = None

    def missing(self) -> None:
        """Note that the ConfigMap does not exist.

        Nobody can say then that it admits creates without the store, so nobody does; but what was said before is lost.
        """
        self.doubt_due = self.doubt_due is not False or self.registered_at is not None
        self.registered_at = None

    def found(self, ledger: Ledger | None, uid: str, now: float) -> bool:
        """Note what the ConfigMap holds.

        Args:
            ledger: The ledger; None if it holds none.
            uid: Its uid.
            now: Monotonic time.

        Returns:
            Whether it was emptied or replaced since the server has written to it.
        """
        registered = ledger is not None and self._server in ledger.servers
        entry = ledger.servers.get(self._server) if ledger else None
        # An older text of the same object was put back if it has an older entry of this server than the last one.
        back = entry is not None and entry.seen < self._seen
        lost = self.registered_at is not None and (back or not (registered and uid == self._uid))
        self._seen = entry.seen if entry else 0.0
        if ledger is None or lost:
            self.doubt_due = True
        elif not self._was_registered:
            # Whichever server has begun the ledger has settled all doubts before, and this one has admitted nothing.
            self.doubt_due = False
        if not registered:
            self.registered_at = None
        elif self.registered_at is None or lost:
            self._uid, self.registered_at, self._was_registered = uid, now, True
        return lost

    def settled(self) -> None:
        """Note that all buckets were put in doubt, or that nothing can have been lost."""
        self.doubt_due = False
