"""Read the webhook configurations of this installation from the API server, or delete them.

They are never written here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from webhook.admission.registered import Difference, differences
from webhook.admission.registration import WebhookType
from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi, Reply
from webhook.kube.listing import RefusedError
from webhook.kube.objects import DECODE_ERRORS, read_status
from webhook.runtime.deadline import Deadline

_GROUP: Final = "admissionregistration.k8s.io"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_PLURALS: Final = {kind: f"{kind.value.lower()}s" for kind in WebhookType}


class ForbiddenError(RefusedError):
    """There is no right to read the configurations."""


async def may_read(api: KubernetesApi, names: Iterable[str], deadline: Deadline) -> bool:
    """Return whether this client may read the configurations, without a request that is forbidden.

    Raises:
        KubernetesError: No reply, or one that is not understood.
    """
    asked = [_may_get(api, plural, name, deadline) for plural in _PLURALS.values() for name in names]
    return all(await asyncio.gather(*asked))


async def read_configurations(api: KubernetesApi, names: Iterable[str], deadline: Deadline) -> list[dict[str, Any]]:
    """Return the configurations of these names, of both kinds, as far as they exist.

    Args:
        api: The API server; needs `get` on each of them.
        names: Their names.
        deadline: When to give up.

    Raises:
        ForbiddenError: There is no right to read one.
        KubernetesError: No reply, or one that is not understood.
    """
    wanted = [(kind, name) for kind in WebhookType for name in names]
    found: Sequence[dict[str, Any] | None] = await asyncio.gather(
        *(_read(api, kind, name, deadline) for kind, name in wanted)
    )
    return [configuration for configuration in found if configuration is not None]


async def delete_configurations(api: KubernetesApi, names: Iterable[str], deadline: Deadline) -> list[tuple[str, str]]:
    """Delete the configurations of these names, of both kinds; return kind and name of those that existed.

    Args:
        api: The API server; needs `delete` on each of them.
        names: Their names.
        deadline: When to give up.

    Raises:
        ForbiddenError: There is no right to delete one.
        KubernetesError: No reply, or one that is not understood.
    """
    wanted = [(kind, name) for kind in WebhookType for name in names]
    existed = await asyncio.gather(*(_delete(api, kind, name, deadline) for kind, name in wanted))
    return [(kind.value, name) for (kind, name), was_there in zip(wanted, existed, strict=True) if was_there]


async def registered_differences(
    api: KubernetesApi, rendered: Sequence[dict[str, Any]], names: Iterable[str], deadline: Deadline
) -> tuple[Difference, ...]:
    """Return how the configurations of these names differ from rendered ones; nothing is compared without these.

    Raises:
        KubernetesError: They cannot be read.
    """
    return differences(rendered, await read_configurations(api, names, deadline)) if rendered else ()


async def _read(api: KubernetesApi, kind: WebhookType, name: str, deadline: Deadline) -> dict[str, Any] | None:
    what = f"{kind.value} {name}"
    reply = await api.get(f"/apis/{_GROUP}/v1/{_PLURALS[kind]}/{name}", deadline)
    if reply.status == 404:
        return None
    configuration = _decoded(reply, what)
    # Objects in a reply to a GET can lack their kind.
    return {**configuration, "kind": kind.value}


async def _delete(api: KubernetesApi, kind: WebhookType, name: str, deadline: Deadline) -> bool:
    what = f"{kind.value} {name}"
    reply = await api.send("DELETE", f"/apis/{_GROUP}/v1/{_PLURALS[kind]}/{name}", b"", deadline)
    if reply.status == 403:
        raise ForbiddenError(f"There is no right to delete {what}: {read_status(reply.body).message}")
    if not reply.ok and reply.status != 404:
        raise KubernetesError(f"The API server answered {reply.status} to the deletion of {what}.")
    return reply.ok


async def _may_get(api: KubernetesApi, plural: str, name: str, deadline: Deadline) -> bool:
    attributes = {"group": _GROUP, "resource": plural, "name": name, "verb": "get"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    reply = await api.send("POST", _REVIEWS, json.dumps(review).encode(), deadline)
    if reply.status == 403:
        return False
    return bool(_decoded(reply, "the review of our rights").get("status", {}).get("allowed"))


def _decoded(reply: Reply, what: str) -> dict[str, Any]:
    if reply.status == 403:
        raise ForbiddenError(f"There is no right to read {what}: {read_status(reply.body).message}")
    if not reply.ok:
        raise KubernetesError(f"The API server answered {reply.status} to the read of {what}.")
    try:
        return msgspec.json.decode(reply.body, type=dict[str, Any])
    except DECODE_ERRORS:
        raise KubernetesError(f"The reply to the read of {what} is not understood.") from None
