"""The ledger in a ConfigMap: read, and written only in place of the version that was read.

The ConfigMap is installed without data, so that whatever installs it never removes what is written here. `serve` may
get and update it, and cannot create it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from webhook.dedupe.core.ledger import Ledger
from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.kube.objects import DECODE_ERRORS, read_status
from webhook.runtime.deadline import Deadline

_FIELD: Final = "state"
_MESSAGE_LENGTH: Final = 300

_decoder: Final = msgspec.json.Decoder(dict[str, Any])


class LedgerMissingError(KubernetesError):
    """The ConfigMap does not exist."""


class LedgerForbiddenError(KubernetesError):
    """This server has no right to read or to write the ConfigMap."""


class LedgerConflictError(KubernetesError):
    """Another server has written the ledger meanwhile: read it again."""


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """The ledger as it was read.

    Attributes:
        ledger: The ledger; None if the ConfigMap holds none.
        uid: The ConfigMap's uid.
        created_at: When the ConfigMap was created, in seconds since 1970.
        body: The whole ConfigMap.
    """

    ledger: Ledger | None
    uid: str
    created_at: float
    body: dict[str, Any]


class LedgerStore:
    """Read and write the ledger.

    Args:
        api: The API server; needs get and update of the ConfigMap.
        namespace: The ConfigMap's namespace.
        name: Its name.
    """

    def __init__(self, api: KubernetesApi, *, namespace: str, name: str) -> None:
        self._api = api
        self._named = f"ConfigMap {namespace}/{name}"
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps/{quote(name, safe='')}"

    def server_time(self) -> float:
        """Return the API server's time, as `KubernetesApi.server_time` does."""
        return self._api.server_time()

    async def read(self, deadline: Deadline) -> StoredLedger:
        """Read the ledger.

        Raises:
            LedgerMissingError: The ConfigMap does not exist.
            KubernetesError: It cannot be read.
            LedgerError: Its contents cannot be decoded.
        """
        reply = await self._api.get(self._path, deadline)
        if reply.status == 404:
            raise LedgerMissingError(
                f"The {self._named} does not exist. Create it again by kubectl apply, from deploy/manifests/state.yaml "
                "or what this installation was made from: without it, no create is allowed while Redis is down."
            )
        if not reply.ok:
            raise self._refused("read", reply.status, reply.body)
        return self._decode(reply.body)

    async def write(self, seen: StoredLedger, ledger: Ledger, deadline: Deadline) -> StoredLedger:
        """Write the ledger in place of the one that was read.

        Raises:
            LedgerConflictError: It has changed since.
            KubernetesError: It cannot be written, or it is unknown whether it was.
            LedgerError: The reply cannot be decoded.
        """
        body = {**seen.body, "data": {**(seen.body.get("data") or {}), _FIELD: ledger.encode()}}
        reply = await self._api.send("PUT", self._path, msgspec.json.encode(body), deadline)
        if reply.status == 409:
            raise LedgerConflictError(f"The {self._named} was changed by another server.")
        if not reply.ok:
            raise self._refused("written", reply.status, reply.body)
        return self._decode(reply.body)

    def _decode(self, body: bytes) -> StoredLedger:
        try:
            config_map = _decoder.decode(body)
            metadata = config_map["metadata"]
            created_at = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
            uid = str(metadata["uid"])
            text = (config_map.get("data") or {}).get(_FIELD)
        except (*DECODE_ERRORS, KeyError, TypeError, ValueError, AttributeError):
            raise KubernetesError(f"The {self._named} cannot be decoded.") from None
        return StoredLedger(Ledger.decode(text) if text else None, uid, created_at, config_map)

    def _refused(self, done: str, status: int, body: bytes) -> KubernetesError:
        message = read_status(body).message[:_MESSAGE_LENGTH]
        error = LedgerForbiddenError if status == 403 else KubernetesError
        return error(f"The {self._named} cannot be {done}: the API server answered {status}: {message}")
