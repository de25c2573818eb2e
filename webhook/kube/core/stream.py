"""Split a watch stream into lines, whatever pieces the network delivers."""

from __future__ import annotations

from typing import Final

from webhook.errors import DataError

#: An event holds one object. etcd accepts objects up to 1.5 MiB by default; the same object is larger as JSON.
MAX_LINE_BYTES: Final = 16 * 2**20


class LineTooLongError(DataError):
    """A line is longer than an event can be, so the stream is not a watch."""


class LineSplitter:
    """Split a stream of bytes into lines. Each byte is read once, and copied once if its line came in pieces.

    Args:
        limit: The most bytes that a line may have.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Add the next piece, and return the lines that it completes, without line ends; empty lines are left out.

        Raises:
            LineTooLongError: A line is longer than the limit.
        """
        *ends, rest = piece.split(b"\n")
        lines = []
        for end in ends:
            self._keep(end)
            if self._size:
                lines.append(b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0])
            self._pieces, self._size = [], 0
        self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise LineTooLongError(f"A line of the watch is longer than {self._limit} bytes.")
        if piece:
            self._pieces.append(piece)
