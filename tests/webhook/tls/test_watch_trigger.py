"""A watch that wakes a loop, with a real API server."""

from __future__ import annotations

import asyncio

import pytest

from tests.controlplane import ControlPlane
from tests.webhook.kube.waiting import eventually
from tests.webhook.tls.conftest import StartProcess
from webhook.tls.watch_trigger import watch_trigger

pytestmark = pytest.mark.cluster


async def test_each_change_of_the_object_wakes_the_loop(
    plane: ControlPlane, namespace: str, start_process: StartProcess
) -> None:
    """The start of the watch does too; changes of other objects do not."""
    process = await start_process(kubeconfig=str(plane.kubeconfig))
    calls: list[int] = []
    trigger = watch_trigger(
        process.watch_context(1), f"/api/v1/namespaces/{namespace}/secrets", "watched", lambda: calls.append(1)
    )
    process.background.start("watch", trigger.run)

    await eventually(lambda: len(calls) == 1)
    for name in ("other", "watched"):
        await asyncio.to_thread(plane.kubectl, "create", "secret", "generic", name, f"--namespace={namespace}")
    await eventually(lambda: len(calls) == 2)
    await asyncio.to_thread(plane.kubectl, "label", "secret", "watched", "x=y", f"--namespace={namespace}")
    await eventually(lambda: len(calls) == 3)
    await asyncio.to_thread(plane.kubectl, "delete", "secret", "watched", f"--namespace={namespace}")
    await eventually(lambda: len(calls) == 4)
