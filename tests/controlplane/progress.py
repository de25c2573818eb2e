"""Progress of a build: which program, how many of all, and for how long."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_HEARTBEAT_SECONDS = 15.0
"""Interval of repeated lines if the output is not a terminal."""


class Progress:
    """Print lines like `[3/7] kube-scheduler: compiling, 42 s`.

    On a terminal the last line is rewritten; otherwise each state is a line, which is repeated while it lasts.

    Args:
        stream: Output; standard error if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._state = ""
        self._since = time.monotonic()
        self._shown = 0.0

    def enter(self, state: str) -> None:
        """Start a state."""
        self._state = state
        self._since = time.monotonic()
        self._show(f"{state} …")

    def beat(self, detail: str = "") -> None:
        """Show that the state still lasts, if the last line is old enough; to be called often.

        Args:
            detail: Detail of the state, such as the module that is downloaded.
        """
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else _HEARTBEAT_SECONDS):
            return
        self._show(f"{self._state}, {_duration(now - self._since)}{f' ({detail})' if detail else ''}")

    def done(self, result: str) -> None:
        """End the state with a line that is not rewritten."""
        self._show(f"{self._state}: {result}, {_duration(time.monotonic() - self._since)}")
        self.leave()

    def leave(self) -> None:
        """End the line, so that other output starts on a new one."""
        if self._terminal:
            print(file=self._stream, flush=True)

    def _show(self, line: str) -> None:
        self._shown = time.monotonic()
        if self._terminal:
            print(f"\r\x1b[K{line}", end="", file=self._stream, flush=True)
        else:
            print(line, file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
