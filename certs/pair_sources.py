"""Where certificates made by others are read: files, or a Secret of cert-manager or an administrator.

No right on webhook configurations is needed: who provides the certificate also publishes its CA.
"""

import asyncio
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from certs.api import CertificateApi, decode_reply, error_of
from certs.errors import UnreadableError

#: The most bytes of a certificate file; a Secret cannot be larger.
MAX_FILE_BYTES: Final = 1024 * 1024

_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class RawPair:
    """The content of a source, not parsed.

    Attributes:
        certificate: The chain as PEM, leaf first.
        key: The private key as PEM.
        authorities: The CA bundle as PEM; empty if none is provided.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    authorities: bytes = b""


class PairSource(Protocol):
    """A place where a certificate and its key are provided."""

    async def read(self) -> RawPair:
        """Read the pair as it is now.

        Raises:
            CertificateError: It cannot be read.
        """


class FileSource:
    """Read a certificate, its key and optionally a CA bundle from files.

    The content is read each time, because modification times do not show every change: a mounted Secret is replaced by
    a symbolic link (`..data`), some tools keep modification times, and the files are small.

    Args:
        certificate: Path of the chain.
        key: Path of the private key.
        authorities: Path of the CA bundle, if there is one.
    """

    def __init__(self, certificate: Path, key: Path, authorities: Path | None = None) -> None:
        self._paths = (certificate, key, authorities)

    async def read(self) -> RawPair:
        """Read all files until two reads agree, so that they belong to the same moment.

        Raises:
            UnreadableError: One is missing, not a file, too large or not permitted, or they change all the time.
        """
        return await asyncio.to_thread(self.read_blocking)

    def read_blocking(self) -> RawPair:
        """Read as `read` does, without an event loop.

        Raises:
            UnreadableError: As of `read`.
        """
        before = self._read_once()
        for _ in range(_ATTEMPTS):
            # If the files were replaced between two reads of one pass, the next pass differs.
            after = self._read_once()
            if after == before:
                return after
            before = after
        raise UnreadableError(f"{self._paths[0]}: the files change while they are read; trying again")

    def _read_once(self) -> RawPair:
        certificate, key, authorities = self._paths
        return RawPair(_content(certificate), _content(key), _content(authorities) if authorities else b"")


class _TlsSecret(msgspec.Struct, frozen=True):
    data: dict[str, bytes] | None = None


class SecretSource:
    """Read `tls.crt`, `tls.key` and optionally `ca.crt` from a Secret, as cert-manager writes them.

    Needs the right `get` on that Secret.

    Args:
        api: Calls to the API server.
        namespace: Namespace of the Secret.
        name: Name of the Secret.
    """

    def __init__(self, api: CertificateApi, *, namespace: str, name: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"
        self._what = f"the Secret {namespace}/{name}"

    async def read(self) -> RawPair:
        """Read the Secret as it is now.

        Raises:
            UnreadableError: It is missing, or one of its keys is.
            ApiUnavailableError: There is no reply, or it is 429 or 5xx.
            ApiRefusedError: There is no right to read it.
        """
        action = f"reading {self._what}"
        status, body = await self._api.get(self._path)
        if status == 404:
            raise UnreadableError(f"{self._what} does not exist; create it, or wait until cert-manager does")
        if status != 200:
            raise error_of(status, body, action=action)
        data = decode_reply(body, _TlsSecret, action=action).data or {}
        if not data.get("tls.crt") or not data.get("tls.key"):
            raise UnreadableError(f"{self._what} has no tls.crt or no tls.key")
        return RawPair(data["tls.crt"], data["tls.key"], data.get("ca.crt", b""))


def _content(path: Path) -> bytes:
    try:
        # Reading a pipe would block.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableError(f"{path}: not a file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UnreadableError(f"{path}: {reason}; check the path and the permissions") from None
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableError(f"{path}: larger than {MAX_FILE_BYTES} bytes, so not a certificate file")
    return content
