"""The CA Secret, read and written by compare-and-swap."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

from certs.api import JSON, MERGE_PATCH, KubernetesApi, Metadata, decode_answer, problem
from certs.errors import ConflictError, SecretError
from certs.secret_format import KEYS, decode_state, encode_state
from certs.state import CaState


class _Secret(msgspec.Struct, frozen=True):
    metadata: Metadata
    data: dict[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What a read of the Secret found.

    Args:
        state: Its content; None where it is missing, empty or cannot be understood.
        version: Its resourceVersion; None where there is no Secret.
        problem: Why its content cannot be understood.
    """

    state: CaState | None = field(repr=False)
    version: str | None
    problem: SecretError | None = None


class SecretStore:
    """Reads and writes one Secret of type Opaque.

    Needs `get` and `patch` on it, and `create` unless it was made (empty) by whoever installs.

    Args:
        api: Calls to the API server.
        namespace: Of the Secret.
        name: Of the Secret.
        labels: Given to the Secret where it is created here.
    """

    def __init__(
        self, api: KubernetesApi, *, namespace: str, name: str, labels: Mapping[str, str] | None = None
    ) -> None:
        self._api = api
        self._name = name
        self._labels = dict(labels or {})
        self._collection = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets"
        self._path = f"{self._collection}/{quote(name, safe='')}"
        self._what = f"the CA Secret {namespace}/{name}"

    async def read(self) -> Stored:
        """Reads the Secret as it is now.

        Raises:
            ApiUnavailableError: No answer, or 429 or 5xx.
            ApiRefusedError: No right to read it.
            FormatError: A later version of this program wrote it.
        """
        doing = f"reading {self._what}"
        status, body = await self._api.get(self._path)
        if status == 404:
            return Stored(None, None)
        if status != 200:
            raise problem(status, body, doing=doing)
        secret = decode_answer(body, _Secret, doing=doing)
        version = secret.metadata.resource_version
        try:
            return Stored(decode_state(secret.data or {}), version)
        except SecretError as error:
            return Stored(None, version, SecretError(f"{self._what} cannot be used: {error}"))

    async def write(self, state: CaState, *, over: Stored) -> None:
        """Writes a state on top of exactly what was read.

        Labels, annotations and foreign keys of the Secret stay as they are.

        Raises:
            ConflictError: The Secret has changed, come or gone since: read again and decide anew.
            ApiUnavailableError: No answer, or 429 or 5xx; whether it was written is unknown.
            ApiRefusedError: No right to write it, or it is immutable.
        """
        data = {key: base64.b64encode(value).decode() for key, value in encode_state(state).items()}
        if over.version is None:
            doing = f"creating {self._what}"
            metadata = {"name": self._name, "labels": self._labels}
            secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
            status, body = await self._api.request("POST", self._collection, msgspec.json.encode(secret), JSON)
        else:
            doing = f"updating {self._what}"
            patch = {"metadata": {"resourceVersion": over.version}, "data": {key: data.get(key) for key in KEYS}}
            status, body = await self._api.request("PATCH", self._path, msgspec.json.encode(patch), MERGE_PATCH)
            if status == 404:
                raise ConflictError(f"{doing}: it is gone")
        if status not in (200, 201):
            raise problem(status, body, doing=doing)
