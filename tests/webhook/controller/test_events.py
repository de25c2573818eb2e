"""Events on a real API server, as kubectl shows them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import structlog
from structlog.testing import capture_logs

from tests.controlplane import ControlPlane
from tests.webhook.controller.conftest import Connect
from tests.webhook.controller.test_watch import apply, configmap
from tests.webhook.controller.waiting import eventually
from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.events import EventRecorder, EventType, Subject


@contextlib.asynccontextmanager
async def recording(api: KubernetesClient) -> AsyncIterator[EventRecorder]:
    """Run a recorder until the end of the block, and write what is left."""
    recorder = EventRecorder(
        api,
        component="rollonce",
        instance="rollonce-0",
        clock=time.monotonic,
        wall_clock=lambda: datetime.now(UTC),
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
    """A ConfigMap that an Event can be about."""
    await apply(plane, namespace, configmap(name))
    metadata = plane.get("configmap", name, namespace)["metadata"]
    return Subject("v1", "ConfigMap", namespace, name, metadata["uid"], metadata["resourceVersion"])


def events(plane: ControlPlane, namespace: str) -> list[tuple[str, int]]:
    """Message and count of all Events in a namespace, by message."""
    listed = json.loads(plane.kubectl("get", "events", "-n", namespace, "-o", "json").stdout)
    return sorted((item["message"], item["count"]) for item in listed["items"])


async def test_an_event_reads_well(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """`kubectl describe` shows type, reason, age, who and what."""
    settings = await subject(plane, namespace, "settings")
    async with recording(api) as recorder:
        recorder.record(settings, EventType.NORMAL, "ConfigChanged", "Secret database has changed.")
        recorder.record(settings, EventType.WARNING, "SourceMissing", "There is no Secret queue.")
    described = plane.kubectl("describe", "configmap", "settings", "-n", namespace).stdout
    lines = [line.split(maxsplit=4) for line in described.partition("Events:")[2].splitlines()[-2:]]
    assert sorted((kind, reason, who, what) for kind, reason, _, who, what in lines) == [
        ("Normal", "ConfigChanged", "rollonce", "Secret database has changed."),
        ("Warning", "SourceMissing", "rollonce", "There is no Secret queue."),
    ]
    listed = plane.kubectl("get", "events", "-n", namespace).stdout
    assert "configmap/settings" in listed
    assert "Secret database has changed." in listed


async def test_the_same_again_is_counted(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """Also when the Event was deleted in between; and about another object it is another one."""
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


async def test_an_object_may_cause_only_so_many(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """A storm about one object leaves room for another."""
    stormy = await subject(plane, namespace, "stormy")
    calm = await subject(plane, namespace, "calm")
    async with recording(api) as recorder:
        for _ in range(1000):
            recorder.record(stormy, EventType.NORMAL, "ConfigChanged", "storm")
        recorder.record(calm, EventType.NORMAL, "ConfigChanged", "calm")
    assert events(plane, namespace) == [("calm", 1), ("storm", 25)]


async def test_a_message_is_cut_to_what_is_allowed(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """By bytes, and not within a character."""
    settings = await subject(plane, namespace, "settings")
    async with recording(api) as recorder:
        recorder.record(settings, EventType.NORMAL, "ConfigChanged", "x" + "é" * 1000)
    assert events(plane, namespace) == [("x" + "é" * 511, 1)]


async def test_an_event_that_is_refused_harms_nobody(plane: ControlPlane, namespace: str, connect: Connect) -> None:
    """It is told in the log, and the next one is written as if nothing had been."""
    nobody = await connect(await asyncio.to_thread(plane.kubeconfig_for, "default", namespace))
    settings = await subject(plane, namespace, "settings")
    with capture_logs() as logs:
        async with recording(nobody) as recorder:
            recorder.record(settings, EventType.NORMAL, "ConfigChanged", "It has changed.")
            await recorder.flush()
            role = ("--verb=create", "--verb=patch", "--resource=events")
            await asyncio.to_thread(plane.kubectl, "create", "role", "teller", *role, "-n", namespace)
            binding = ("--role=teller", f"--serviceaccount={namespace}:default")
            await asyncio.to_thread(plane.kubectl, "create", "rolebinding", "teller", *binding, "-n", namespace)
            user = f"--as=system:serviceaccount:{namespace}:default"
            may = ("auth", "can-i", "create", "events", user, "-n", namespace)
            await eventually(lambda: plane.kubectl(*may, check=False).returncode == 0)
            for _ in range(2):
                recorder.record(settings, EventType.NORMAL, "ConfigChanged", "It has changed.")
    assert [line["problem"] for line in logs] == ["The API server answered 403."]
    assert events(plane, namespace) == [("It has changed.", 2)]
