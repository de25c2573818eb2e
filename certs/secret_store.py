"""Reads and writes of the CA Secret; each write is a compare-and-swap."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

from certs.api import JSON, MERGE_PATCH, CertificateApi, Metadata, decode_reply, error_of
from certs.ca_state import CaState
from certs.errors import ConflictError, SecretError
from certs.secret_format import KEYS, decode_state, encode_state


class _Secret(msgspec.Struct, frozen=True):
    metadata: Metadata
    data: dict[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class StoredState:
    """The Secret at one version.

    Attributes:
        state: Its content; None if it is missing, empty or cannot be understood.
        version: Its resourceVersion; None if there is no Secret.
        problem: Why its content cannot be understood.
    """

    state: CaState | None = field(repr=False)
    version: str | None
    problem: SecretError | None = None


class SecretStore:
    """Read and write one Secret of type Opaque.

    Needs the rights `get` and `patch` on it, and `create` unless it was created (empty) during the installation.

    Args:
        api: Calls to the API server.
        namespace: Namespace of the Secret.
        name: Name of the Secret.
        labels: Labels of the Secret if it is created here.
    """

    def __init__(
        self, api: CertificateApi, *, namespace: str, name: str, labels: Mapping[str, str] | None = None
    ) -> None:
        self._api = api
        self._name = name
        self._labels = dict(labels or {})
        self._collection = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets"
        self._path = f"{self._collection}/{quote(name, safe='')}"
        self._what = f"the CA Secret {namespace}/{name}"

    async def read(self) -> StoredState:
        """Read the Secret as it is now.

        Raises:
            ApiUnavailableError: There is no reply, or it is 429 or 5xx.
            ApiRefusedError: There is no right to read it.
            FormatError: A later version of this program wrote it.
        """
        action = f"reading {self._what}"
        status, body = await self._api.get(self._path)
        if status == 404:
            return StoredState(None, None)
        if status != 200:
            raise error_of(status, body, action=action)
        secret = decode_reply(body, _Secret, action=action)
        version = secret.metadata.resource_version
        try:
            return StoredState(decode_state(secret.data or {}), version)
        except SecretError as error:
            return StoredState(None, version, SecretError(f"{self._what} cannot be used: {error}"))

    async def write(self, state: CaState, *, over: StoredState) -> None:
        """Write a state, if the Secret is still exactly what was read.

        Labels, annotations and other keys of the Secret stay as they are.

        Args:
            state: The new content.
            over: What was read.

        Raises:
            ConflictError: The Secret was changed, created or deleted since: read and decide again.
            ApiUnavailableError: There is no reply, or it is 429 or 5xx; it is unknown whether it was written.
            ApiRefusedError: There is no right to write it, or it is immutable.
        """
        data = {key: base64.b64encode(value).decode() for key, value in encode_state(state).items()}
        if over.version is None:
            action = f"creating {self._what}"
            metadata = {"name": self._name, "labels": self._labels}
            secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
            status, body = await self._api.request("POST", self._collection, msgspec.json.encode(secret), JSON)
        else:
            action = f"updating {self._what}"
            patch = {"metadata": {"resourceVersion": over.version}, "data": {key: data.get(key) for key in KEYS}}
            status, body = await self._api.request("PATCH", self._path, msgspec.json.encode(patch), MERGE_PATCH)
            if status == 404:
                raise ConflictError(f"{action}: it was deleted")
        if status not in (200, 201):
            raise error_of(status, body, action=action)
