"""Requests to the API server without kubectl, which repeats requests and rewrites messages."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.controlplane import ControlPlane
from tests.e2e.objects import Object
from webhook.kube.api import Reply
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime.deadline import Deadline

RUNS_PATH = "/apis/orchestration.proompteng.ai/v1alpha1/namespaces/{}/orchestrationruns"
DEPLOYMENTS_PATH = "/apis/apps/v1/namespaces/{}/deployments"
_SECONDS = 60.0


class RawClient:
    """A client of the API server that does not repeat creates.

    Args:
        client: The connections.
    """

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def create(self, path: str, manifest: Object) -> Reply:
        """Send a POST request with an object."""
        return await self._client.send("POST", path, json.dumps(manifest).encode(), self._deadline())

    async def replace(self, path: str, manifest: Object) -> Reply:
        """Send a PUT request with an object."""
        return await self._client.send("PUT", path, json.dumps(manifest).encode(), self._deadline())

    async def get(self, path: str) -> Reply:
        """Send a GET request."""
        return await self._client.get(path, self._deadline())

    def _deadline(self) -> Deadline:
        return Deadline.after(_SECONDS, time.monotonic)


@asynccontextmanager
async def raw_client(kubeconfig: Path, *, connections: int = 64) -> AsyncIterator[RawClient]:
    """Open connections with the credentials of a kubeconfig."""
    client = KubernetesClient(await load_configuration(str(kubeconfig)), user_agent="tests", connections=connections)
    try:
        yield RawClient(client)
    finally:
        await client.close()


def body(reply: Reply) -> dict[str, Any]:
    """Decode the JSON of a reply."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


async def concurrently(writers: int, jobs: Sequence[Callable[[], Awaitable[Reply]]]) -> list[Reply]:
    """Run jobs in order, a limited number at a time; return their replies in the same order."""
    replies: list[Reply | None] = [None] * len(jobs)
    waiting = iter(enumerate(jobs))

    async def write() -> None:
        for number, job in waiting:
            replies[number] = await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(write())
    return [reply for reply in replies if reply is not None]


def webhook_failures(plane: ControlPlane) -> dict[str, float]:
    """Return how many webhook calls failed, by series, from the metrics of the API server."""
    text = plane.kubectl("get", "--raw", "/metrics").stdout
    failures = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        failed_open = series.startswith("apiserver_admission_webhook_fail_open_count")
        not_called = series.startswith("apiserver_admission_webhook_rejection_count") and "no_error" not in series
        if failed_open or not_called:
            failures[series] = float(value)
    return failures
