"""Writes with a resourceVersion as precondition, on a real API server."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from tests.controlplane import ControlPlane
from tests.webhook.kube.conftest import Connect
from tests.webhook.kube.test_informer import apply, configmap, configmaps
from webhook.admission.patch import Add
from webhook.errors import DeadlineExceededError
from webhook.kube.client import KubernetesClient
from webhook.kube.objects import PartialObject
from webhook.kube.writes import Conflict, PatchResult, Refused, Vanished, Written, patch_json
from webhook.runtime.deadline import Deadline


async def write(
    api: KubernetesClient, namespace: str, version: str, value: str, *, seconds: float = 30.0
) -> PatchResult:
    """Set `data.a` of the ConfigMap `settings`."""
    path = configmaps(namespace) + "/settings"
    deadline = Deadline.after(seconds, time.monotonic)
    add = Add("/data", {"a": value})
    return await patch_json(api, path, [add], resource_version=version, deadline=deadline, field_manager="rollonce")


async def test_a_write_replaces_one_version_only(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A second write over the same version is a conflict."""
    await apply(plane, namespace, configmap("settings", a="1"))
    version = plane.get("configmap", "settings", namespace)["metadata"]["resourceVersion"]
    written = await write(api, namespace, version, "2")
    assert isinstance(written, Written)
    stored = plane.get("configmap", "settings", namespace)
    now = msgspec.json.decode(written.body, type=PartialObject).metadata.resource_version
    assert now == stored["metadata"]["resourceVersion"] != version
    assert await write(api, namespace, version, "3") == Conflict()
    assert plane.get("configmap", "settings", namespace) == stored
    assert stored["data"] == {"a": "2"}
    assert (
        "rollonce"
        in plane.kubectl(
            "get",
            "configmap",
            "settings",
            "-n",
            namespace,
            "--show-managed-fields",
            "-o",
            "jsonpath={.metadata.managedFields[*].manager}",
        ).stdout.split()
    )


async def test_a_deleted_object_is_not_recreated(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A write to a deleted object gives Vanished, and a write to a recreated one gives Conflict."""
    assert await write(api, namespace, "1", "2") == Vanished()
    await apply(plane, namespace, configmap("settings"))
    assert await write(api, namespace, "1", "2") == Conflict()


async def test_a_refusal_has_the_message_of_the_api_server(
    plane: ControlPlane, namespace: str, connect: Connect
) -> None:
    """Without the right, the message has the user, the verb and the resource."""
    await apply(plane, namespace, configmap("settings"))
    unprivileged = await connect(await asyncio.to_thread(plane.kubeconfig_for, "default", namespace))
    refused = await write(unprivileged, namespace, "1", "2")
    assert isinstance(refused, Refused)
    assert refused.status == 403
    assert f'User "system:serviceaccount:{namespace}:default" cannot patch resource "configmaps"' in refused.message


async def test_after_the_deadline_nothing_is_sent(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """After the deadline the write raises DeadlineExceededError and the object is unchanged, as for a former leader."""
    await apply(plane, namespace, configmap("settings", a="1"))
    stored = plane.get("configmap", "settings", namespace)
    with pytest.raises(DeadlineExceededError):
        await write(api, namespace, stored["metadata"]["resourceVersion"], "2", seconds=0.0)
    assert plane.get("configmap", "settings", namespace) == stored
