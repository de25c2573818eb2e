"""Writes of a controller: each over exactly the version that it decided on, and never over a newer one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from webhook.admission.deadline import Deadline
from webhook.admission.patch import PatchOperation, Replace, encode
from webhook.clients.api import JSON_PATCH, MERGE_PATCH, KubernetesApi, Reply
from webhook.controller.objects import read_status

_MESSAGE_LENGTH: Final = 500


@dataclass(frozen=True, slots=True)
class Written:
    """The write is stored.

    Attributes:
        body: The object as it is now.
    """

    body: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else wrote first: look again, and decide anew."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """There is no such object any more."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server, or a webhook of somebody, does not want it.

    Attributes:
        status: The HTTP status.
        message: Its words, cut to a line's length.
        retry_after: Seconds that it asks to wait; 0 if it does not.
    """

    status: int
    message: str
    retry_after: int


Outcome: TypeAlias = Written | Conflict | Vanished | Refused


async def patch_json(
    api: KubernetesApi,
    path: str,
    operations: Sequence[PatchOperation],
    *,
    resource_version: str,
    deadline: Deadline,
    field_manager: str,
) -> Outcome:
    """Write by JSON Patch (RFC 6902).

    Args:
        api: The API server.
        path: Of the object.
        operations: At least one.
        resource_version: Of the object that the operations were made for.
        deadline: When to give up; a leader's bounds it by its term.
        field_manager: Who writes, as `managedFields` will show.

    Raises:
        KubernetesError: No answer; the write may be stored or not.
        DeadlineExceededError: The deadline had passed already; nothing was sent.
    """
    # By `replace`, not by `test`: what differs is then answered 409 and not 422, which others use for other reasons.
    body = encode([Replace("/metadata/resourceVersion", resource_version), *operations])
    query = {"fieldManager": field_manager}
    return _outcome(await api.send("PATCH", path, body, deadline, query=query, content_type=JSON_PATCH))


async def patch_merge(
    api: KubernetesApi,
    path: str,
    changes: Mapping[str, Any],
    *,
    resource_version: str,
    deadline: Deadline,
    field_manager: str,
) -> Outcome:
    """Write by merge patch (RFC 7386); arguments and errors as of `patch_json`.

    Args:
        api: The API server.
        path: Of the object.
        changes: The fields to set; None removes one.
        resource_version: Of the object that the changes were made for.
        deadline: When to give up.
        field_manager: Who writes.
    """
    metadata = {**changes.get("metadata", {}), "resourceVersion": resource_version}
    body = msgspec.json.encode({**changes, "metadata": metadata})
    query = {"fieldManager": field_manager}
    return _outcome(await api.send("PATCH", path, body, deadline, query=query, content_type=MERGE_PATCH))


def _outcome(reply: Reply) -> Outcome:
    if reply.ok:
        return Written(reply.body)
    if reply.status == 409:
        return Conflict()
    if reply.status == 404:
        return Vanished()
    return Refused(reply.status, read_status(reply.body).message[:_MESSAGE_LENGTH], reply.retry_after or 0)
