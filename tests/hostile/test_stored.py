"""A stored object that is nested deep stops no list and no watch."""

from __future__ import annotations

import asyncio
import json
import time
from uuid import uuid4

from tests.controlplane import ControlPlane
from tests.e2e.objects import run
from tests.e2e.raw import RUNS_PATH
from tests.hostile.target import Target
from webhook.dedupe.core.run import ORCHESTRATION_RUNS, OrchestrationRun
from webhook.dedupe.runs import Runs
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.objects import event_decoder
from webhook.runtime.deadline import Deadline
from webhook.runtime.decoding import DeepDecoder


def soon() -> Deadline:
    """Return the deadline of a call."""
    return Deadline.after(30, time.monotonic)


async def test_a_deep_run_is_listed_and_watched(plane: ControlPlane, target: Target, namespace: str) -> None:
    """A run whose status is nested deeper than Python lets a decoder go is read like any other."""
    client = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="tests", connections=4)
    try:
        path = RUNS_PATH.format(namespace)
        # The API server accepts more, but takes seconds for it.
        depth, name = 1_100, "deep"
        created = await client.send("POST", path, json.dumps(run(str(uuid4()), name=name)).encode(), soon())
        assert created.ok
        status = b'{"status":{"phase":"Running","x":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}}"
        patched = await client.send(
            "PATCH", f"{path}/{name}/status", status, soon(), content_type="application/merge-patch+json"
        )
        assert patched.ok
        await client.send("POST", path, json.dumps(run(str(uuid4()), name="flat")).encode(), soon())
        listed = [found.name async for found in Runs(client, ORCHESTRATION_RUNS).listing(namespace, soon)]
        assert listed == ["deep", "flat"]
        query = {"watch": "true", "timeoutSeconds": "1"}
        async with client.watch(path, query=query, accept="application/json", silence=20) as lines, asyncio.timeout(20):
            events = [event_decoder.decode(line) async for line in lines]
        seen = [DeepDecoder(OrchestrationRun).decode(event.object).name for event in events]
        assert sorted(seen) == listed
    finally:
        await client.close()
    assert target.replica.process.running
