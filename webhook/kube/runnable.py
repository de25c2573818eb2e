"""The work of a leader: each runnable is independent of the others."""

from __future__ import annotations

from typing import Protocol

from webhook.kube.election import Term


class LeaderRunnable(Protocol):
    """Work that only the leader does."""

    @property
    def name(self) -> str:
        """Its name in the log."""

    async def lead(self, term: Term) -> None:
        """Work until cancelled; started again for each term, and after an expected failure.

        Args:
            term: Bounds what may be written: another replica leads after its end.
        """
