"""Certificate files, as an administrator or a mounted Secret provides them."""

import asyncio
import stat
from dataclasses import dataclass, field
from pathlib import Path

from certs.errors import UnreadableError

LARGEST = 1024 * 1024
"""Bytes that a certificate file may have; a Secret cannot be larger."""

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class RawPair:
    """What a source holds, not looked at yet.

    Args:
        certificate: The chain as PEM, leaf first.
        key: The private key as PEM.
        authorities: The CA bundle as PEM, empty where none is given.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    authorities: bytes = b""


class FileSource:
    """Reads a certificate, its key and perhaps a CA bundle from files.

    The content is read every time rather than trusted to be unchanged by its times: a mounted Secret is swapped by a
    symbolic link (`..data`), some tools keep modification times, and the files are small.

    Args:
        certificate: Path of the chain.
        key: Path of the private key.
        authorities: Path of the CA bundle, if there is one.
    """

    def __init__(self, certificate: Path, key: Path, authorities: Path | None = None) -> None:
        self._paths = (certificate, key, authorities)

    async def read(self) -> RawPair:
        """Reads all of them as they were at one moment, as far as that can be known.

        Raises:
            UnreadableError: One is missing, no file, too large or not permitted, or they change all the time.
        """
        return await asyncio.to_thread(self._read_consistently)

    def _read_consistently(self) -> RawPair:
        before = self._read_once()
        for _ in range(_ATTEMPTS):
            # A swap between two files shows as a difference in the second reading.
            after = self._read_once()
            if after == before:
                return after
            before = after
        raise UnreadableError(f"{self._paths[0]}: the files change while they are read; trying again")

    def _read_once(self) -> RawPair:
        certificate, key, authorities = self._paths
        return RawPair(_content(certificate), _content(key), _content(authorities) if authorities else b"")


def _content(path: Path) -> bytes:
    try:
        # A pipe would block for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableError(f"{path}: not a file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UnreadableError(f"{path}: {reason}; check the path and the permissions") from None
    if len(content) > LARGEST:
        raise UnreadableError(f"{path}: larger than {LARGEST} bytes, so not a certificate file")
    return content
