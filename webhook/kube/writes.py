"""Writes of a controller: each applies to exactly the version that was decided about, and to no newer one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from webhook.admission.patch import PatchOperation, Replace, encode
from webhook.kube.api import JSON_PATCH, KubernetesApi, Reply
from webhook.kube.objects import read_status
from webhook.runtime.deadline import Deadline

_MESSAGE_LENGTH: Final = 500


@dataclass(frozen=True, slots=True)
class Written:
    """The write is stored.

    Attributes:
        body: The object as it is stored now.
    """

    body: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """Another client wrote first: read again and decide again."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """The object does not exist any more."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server or an admission webhook refused the write.

    Attributes:
        status: The HTTP status.
        message: The server's message, cut to the length of a line.
        retry_after: Seconds that it asks to wait; 0 if it does not.
    """

    status: int
    message: str
    retry_after: int


PatchResult: TypeAlias = Written | Conflict | Vanished | Refused


async def patch_json(
    api: KubernetesApi,
    path: str,
    operations: Sequence[PatchOperation],
    *,
    resource_version: str,
    deadline: Deadline,
    field_manager: str,
) -> PatchResult:
    """Write by JSON Patch (RFC 6902).

    Args:
        api: The API server.
        path: Path of the object.
        operations: At least one.
        resource_version: Version of the object that the operations were made for.
        deadline: When to give up; a leader's ends with its term.
        field_manager: The writer, as shown in `managedFields`.

    Raises:
        KubernetesError: No reply; it is unknown whether the write happened.
        DeadlineExceededError: The deadline had passed already; nothing was sent.
    """
    # With `replace` a version that differs is answered by 409. `test` is answered by 422, which has other causes too.
    body = encode([Replace("/metadata/resourceVersion", resource_version), *operations])
    query = {"fieldManager": field_manager}
    return _result(await api.send("PATCH", path, body, deadline, query=query, content_type=JSON_PATCH))


def _result(reply: Reply) -> PatchResult:
    if reply.ok:
        return Written(reply.body)
    if reply.status == 409:
        return Conflict()
    if reply.status == 404:
        return Vanished()
    return Refused(reply.status, read_status(reply.body).message[:_MESSAGE_LENGTH], reply.retry_after or 0)
