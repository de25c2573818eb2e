"""Read one Lease, and write it over exactly the version that was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Never

import msgspec

from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi, Reply
from webhook.kube.core.lease import LeaseRecord
from webhook.runtime.deadline import Deadline

_HINTS: Final = {
    403: "; its ServiceAccount needs get, create and update of leases.coordination.k8s.io there",
    404: "; does the namespace exist?",
}


@dataclass(frozen=True, slots=True)
class StoredLease:
    """A Lease as it is stored.

    Attributes:
        record: Its spec.
        metadata: Undecoded; it is written back with its resourceVersion and the labels of others.
    """

    record: LeaseRecord
    metadata: msgspec.Raw


class _Lease(msgspec.Struct, frozen=True, kw_only=True):
    api_version: str = msgspec.field(default="coordination.k8s.io/v1", name="apiVersion")
    kind: str = "Lease"
    metadata: msgspec.Raw
    spec: LeaseRecord | None = None


_decoder: Final = msgspec.json.Decoder(_Lease)


class LeaseStore:
    """Read and write one Lease.

    Args:
        api: The API server.
        namespace: Namespace of the Lease.
        name: Name of the Lease.
    """

    def __init__(self, api: KubernetesApi, *, namespace: str, name: str) -> None:
        self._api = api
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._folder}/{name}"
        self._fresh = msgspec.Raw(msgspec.json.encode({"namespace": namespace, "name": name}))

    async def read(self, deadline: Deadline) -> StoredLease | None:
        """Return the Lease, or None if it does not exist; a quorum read.

        Raises:
            KubernetesError: The API server did not answer, or with an error.
            DeadlineExceededError: The deadline had passed already.
        """
        reply = await self._api.get(self._path, deadline)
        if reply.status == 404:
            return None
        return _stored(reply) if reply.ok else self._refused("GET", reply)

    async def write(self, record: LeaseRecord, over: StoredLease | None, deadline: Deadline) -> StoredLease | None:
        """Write the record, unless the Lease has changed since it was read.

        Args:
            record: The new spec.
            over: What was read or written last; None if the Lease did not exist.
            deadline: When to give up.

        Returns:
            What is stored now; None if another client wrote in between.

        Raises:
            KubernetesError: The API server did not answer, or with an error; the record may be stored or not.
            DeadlineExceededError: The deadline had passed already; nothing was sent.
        """
        if over is None:
            method, path, metadata = "POST", self._folder, self._fresh
        else:
            method, path, metadata = "PUT", self._path, over.metadata
        body = msgspec.json.encode(_Lease(metadata=metadata, spec=record))
        reply = await self._api.send(method, path, body, deadline)
        # PUT does not find a Lease that was deleted in between, which is handled like a change.
        if reply.status == 409 or (reply.status == 404 and over is not None):
            return None
        return _stored(reply) if reply.ok else self._refused(method, reply)

    def _refused(self, method: str, reply: Reply) -> Never:
        hint = _HINTS.get(reply.status, "")
        raise KubernetesError(f"The API server answered {reply.status} to {method} {self._path}{hint}.")


def _stored(reply: Reply) -> StoredLease:
    try:
        lease = _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise KubernetesError("The API server's reply is not a Lease.") from None
    return StoredLease(lease.spec or LeaseRecord(), lease.metadata.copy())
