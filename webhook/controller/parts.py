"""What the controller is made of: parts that know nothing of each other."""

from __future__ import annotations

from typing import Protocol

from webhook.controller.election import Term


class Part(Protocol):
    """Something that each replica of the controller does."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    async def run(self) -> None:
        """Work until cancelled; begun anew after a defect."""


class LeaderPart(Protocol):
    """Something that only the leader does."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    async def lead(self, term: Term) -> None:
        """Work until cancelled; begun anew for each term, and after a defect.

        Args:
            term: Bounds what may be written: others lead after its end.
        """
