"""Writes with a precondition on a real API server."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from tests.controlplane import ControlPlane
from tests.webhook.controller.conftest import Connect
from tests.webhook.controller.test_watch import apply, configmap, configmaps
from webhook.admission.deadline import Deadline
from webhook.admission.patch import Add
from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.objects import PartialObject
from webhook.controller.writes import Conflict, Outcome, Refused, Vanished, Written, patch_json, patch_merge
from webhook.errors import DeadlineExceededError


async def write(
    api: KubernetesClient, form: str, namespace: str, version: str, value: str, *, seconds: float = 30.0
) -> Outcome:
    """Set `data.a` of the ConfigMap `settings`."""
    path = configmaps(namespace) + "/settings"
    deadline = Deadline.after(seconds, time.monotonic)
    if form == "json":
        add = Add("/data", {"a": value})
        return await patch_json(api, path, [add], resource_version=version, deadline=deadline, field_manager="rollonce")
    changes = {"data": {"a": value}, "metadata": {"labels": {"b": "c"}}}
    return await patch_merge(api, path, changes, resource_version=version, deadline=deadline, field_manager="rollonce")


@pytest.mark.parametrize("form", ["json", "merge"])
async def test_a_write_goes_over_one_version_only(
    plane: ControlPlane, api: KubernetesClient, namespace: str, form: str
) -> None:
    """The second write over the same version is a conflict, whoever made the first."""
    await apply(plane, namespace, configmap("settings", a="1"))
    version = plane.get("configmap", "settings", namespace)["metadata"]["resourceVersion"]
    written = await write(api, form, namespace, version, "2")
    assert isinstance(written, Written)
    stored = plane.get("configmap", "settings", namespace)
    now = msgspec.json.decode(written.body, type=PartialObject).metadata.resource_version
    assert now == stored["metadata"]["resourceVersion"] != version
    assert await write(api, form, namespace, version, "3") == Conflict()
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


@pytest.mark.parametrize("form", ["json", "merge"])
async def test_what_is_gone_is_not_made_again(
    plane: ControlPlane, api: KubernetesClient, namespace: str, form: str
) -> None:
    """Nor is an object of the same name that was made since written over."""
    assert await write(api, form, namespace, "1", "2") == Vanished()
    await apply(plane, namespace, configmap("settings"))
    assert await write(api, form, namespace, "1", "2") == Conflict()


async def test_a_refusal_has_the_api_servers_words(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """Without the right, the message names who may not do what."""
    await apply(plane, namespace, configmap("settings"))
    nobody = await connect(await asyncio.to_thread(plane.kubeconfig_for, "default", namespace))
    refused = await write(nobody, "json", namespace, "1", "2")
    assert isinstance(refused, Refused)
    assert refused.status == 403
    assert f'User "system:serviceaccount:{namespace}:default" cannot patch resource "configmaps"' in refused.message


async def test_after_the_deadline_nothing_is_sent(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A leader that was frozen writes nothing after its term."""
    await apply(plane, namespace, configmap("settings", a="1"))
    stored = plane.get("configmap", "settings", namespace)
    with pytest.raises(DeadlineExceededError):
        await write(api, "json", namespace, stored["metadata"]["resourceVersion"], "2", seconds=0.0)
    assert plane.get("configmap", "settings", namespace) == stored
