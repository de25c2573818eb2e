"""The lines of a watch stream: whole ones out of whatever pieces the network delivers."""

from __future__ import annotations

from typing import Final

#: An event holds one object, which etcd takes up to 1.5 MiB of unless told otherwise; as JSON it is larger.
LONGEST_LINE_BYTES: Final = 16 * 2**20


class LineTooLongError(ValueError):
    """What comes in is no stream of events."""


class LineSplitter:
    """Cuts a stream into lines; each byte is looked at once, and copied once if its line came in pieces.

    Args:
        longest: Bytes that a line may have.
    """

    def __init__(self, longest: int = LONGEST_LINE_BYTES) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next piece, and return the lines that it completes, without their ends; empty ones are left out.

        Raises:
            LineTooLongError: A line is longer than allowed.
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
        if self._size > self._longest:
            raise LineTooLongError(f"a line is longer than {self._longest} bytes")
        if piece:
            self._pieces.append(piece)
