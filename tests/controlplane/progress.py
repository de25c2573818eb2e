"""What a person sees while programs are built: which one, how many of how many, and since when."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_HEARTBEAT_SECONDS = 15.0
"""Of plain lines, where there is no terminal whose last line can be rewritten."""


class Progress:
    """Lines like `[3/7] kube-scheduler: compiling, 42 s`.

    On a terminal the last line is rewritten; elsewhere each state is a line, repeated while it lasts.

    Args:
        stream: Standard error if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._state = ""
        self._since = time.monotonic()
        self._shown = 0.0

    def enter(self, state: str) -> None:
        """Begin a state that lasts."""
        self._state = state
        self._since = time.monotonic()
        self._show(f"{state} …")

    def beat(self, detail: str = "") -> None:
        """Say that the state still lasts; call it often, it decides what is worth a line.

        Args:
            detail: What is going on, such as the module being downloaded.
        """
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else _HEARTBEAT_SECONDS):
            return
        self._show(f"{self._state}, {_duration(now - self._since)}{f' ({detail})' if detail else ''}")

    def done(self, result: str) -> None:
        """End the state with a line that stays."""
        self._show(f"{self._state}: {result}, {_duration(time.monotonic() - self._since)}")
        self.leave()

    def leave(self) -> None:
        """Leave the last line as it is, so that others can write."""
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
