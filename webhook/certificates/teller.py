"""Tells of problems once, not at each try."""

from __future__ import annotations

from webhook.log import Logger


class Teller:
    """Logs what is new about one matter.

    Args:
        log: Where to.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._told = ""

    def problem(self, message: str, problem: str) -> None:
        """Warn, unless this was the last thing told.

        Args:
            message: Constant text.
            problem: What varies.
        """
        if problem != self._told:
            self._told = problem
            self._log.warning(message, problem=problem)

    def fine(self, message: str) -> None:
        """Say that what was told of is over; nothing if nothing was."""
        if self._told:
            self._told = ""
            self._log.info(message)
