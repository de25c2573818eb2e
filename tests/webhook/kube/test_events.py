"""Events on a real API server, as kubectl shows them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import structlog
from structlog.testing import capture_logs

from tests.controlplane import ControlPlane
from tests.webhook.kube.conftest import Connect
from tests.webhook.kube.test_informer import apply, configmap
from tests.webhook.kube.waiting import eventually
from webhook.kube.client import KubernetesClient
from webhook.kube.events import EventRecorder, EventType, Subject
from webhook.runtime.clock import Clock


@contextlib.asynccontextmanager
async def recording(api: KubernetesClient) -> AsyncIterator[EventRecorder]:
    """Run a recorder until the end of the block, and write the remaining Events."""
    recorder = EventRecorder(
        api,
        component="rollonce",
        instance="rollonce-0",
        clock=Clock(),
        log=structlog.get_logger(),
    )
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
        async with asyncio.timeout(30):
            await recorder.flush()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def subject(plane: ControlPlane, namespace: str, name: str) -> Subject:
    """Create a ConfigMap for Events."""
    await apply(plane, namespace, configmap(name))
    metadata = plane.get("configmap", name, namespace)["metadata"]
    return Subject("v1", "ConfigMap", namespace, name, metadata["uid"], metadata["resourceVersion"])


def events(plane: ControlPlane, namespace: str) -> list[tuple[str, int]]:
    """Return message and count of all Events of a namespace, sorted."""
    listed = json.loads(plane.kubectl("get", "events", "-n", namespace, "-o", "json").stdout)
    return sorted((item["message"], item["count"]) for item in listed["items"])


async def test_an_event_is_shown_by_kubectl(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """`kubectl describe` shows type, reason, age, component and message."""
    settings = await subject(plane, namespace, "settings")
    async with recording(api) as recorder:
        recorder.record(settings, EventType.NORMAL, "ConfigChanged", "Secret database has changed.")
        recorder.record(settings, EventType.WARNING, "SourceMissing", "There is no Secret queue.")
    described = plane.kubectl("describe", "configmap", "settings", "-n", namespace).stdout
    lines = [line.split(maxsplit=4) for line in described.partition("Events:")[2].splitlines()[-2:]]
    assert sorted((kind, reason, component, message) for kind, reason, _, component, message in lines) == [
        ("Normal", "ConfigChanged", "rollonce", "Secret database has changed."),
        ("Warning", "SourceMissing", "rollonce", "There is no Secret queue."),
    ]
    listed = plane.kubectl("get", "events", "-n", namespace).stdout
    assert "configmap/settings" in listed
    assert "Secret database has changed." in listed


async def test_equal_events_are_counted(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """Equal Events about one object increase the count, and after a deletion the count starts at one."""
    first = await subject(plane, namespace, "first")
    second = await subject(plane, namespace, "second")
    async with recording(api) as recorder:
        for _ in range(3):
            recorder.record(first, EventType.NORMAL, "ConfigChanged", "It has changed.")
        recorder.record(second, EventType.NORMAL, "ConfigChanged", "It has changed.")
        recorder.record(second, EventType.NORMAL, "ConfigChanged", "It is different.")
        await recorder.flush()
        assert events(plane, namespace) == [("It has changed.", 1), ("It has changed.", 3), ("It is different.", 1)]
        await asyncio.to_thread(plane.kubectl, "delete", "events", "--all", "-n", namespace)
        recorder.record(first, EventType.NORMAL, "ConfigChanged", "It has changed.")
    assert events(plane, namespace) == [("It has changed.", 1)]


async def test_the_events_per_object_are_limited(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """Too many Events about one object are dropped, and Events about another object are written."""
    noisy = await subject(plane, namespace, "noisy")
    other = await subject(plane, namespace, "other")
    async with recording(api) as recorder:
        for _ in range(1000):
            recorder.record(noisy, EventType.NORMAL, "ConfigChanged", "repeated")
        recorder.record(other, EventType.NORMAL, "ConfigChanged", "once")
    assert events(plane, namespace) == [("once", 1), ("repeated", 25)]


async def test_a_long_message_is_cut(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A message is cut to 1,024 bytes, and not within a character."""
    settings = await subject(plane, namespace, "settings")
    async with recording(api) as recorder:
        recorder.record(settings, EventType.NORMAL, "ConfigChanged", "x" + "é" * 1000)
    assert events(plane, namespace) == [("x" + "é" * 511, 1)]


async def test_a_refused_event_is_logged(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """An Event that is refused is logged, and the next one is written."""
    unprivileged = await connect(await asyncio.to_thread(plane.kubeconfig_for, "default", namespace))
    settings = await subject(plane, namespace, "settings")
    with capture_logs() as logs:
        async with recording(unprivileged) as recorder:
            recorder.record(settings, EventType.NORMAL, "ConfigChanged", "It has changed.")
            await recorder.flush()
            role = ("--verb=create", "--verb=patch", "--resource=events")
            await asyncio.to_thread(plane.kubectl, "create", "role", "recorder", *role, "-n", namespace)
            binding = ("--role=recorder", f"--serviceaccount={namespace}:default")
            await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "recorder", *binding, "-n", namespace)
            user = f"--as=system:serviceaccount:{namespace}:default"
            may = ("auth", "can-i", "create", "events", user, "-n", namespace)
            await eventually(lambda: plane.kubectl(*may, check=False).returncode == 0)
            for _ in range(2):
                recorder.record(settings, EventType.NORMAL, "ConfigChanged", "It has changed.")
    assert [line["problem"] for line in logs] == ["The API server answered 403."]
    assert events(plane, namespace) == [("It has changed.", 2)]
