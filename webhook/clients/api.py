"""What the rest of rollonce asks of the Kubernetes API server: paths and bytes, each call with its deadline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from webhook.admission.deadline import Deadline

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
#: Only `metadata` comes back; an object's annotations may still hold anything.
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_ONLY_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API server answered.

    Attributes:
        status: The HTTP status.
        body: The whole body.
        retry_after: Seconds that the server asks to wait, if it does.
    """

    status: int
    body: bytes
    retry_after: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300


class KubernetesApi(Protocol):
    """Calls to the API server. An HTTP error status is a reply; only no answer at all is an error."""

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """GET a path such as `/api/v1/namespaces/shop/secrets/db`.

        Without a `resourceVersion` in the query the read is a quorum read: it sees every write acknowledged before.

        Raises:
            KubernetesError: No answer within the deadline.
        """

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """POST, PUT, PATCH or DELETE; never repeated by itself.

        Raises:
            KubernetesError: No answer within the deadline; whether the write happened is unknown.
        """
