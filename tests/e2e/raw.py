"""Calls to the API server without kubectl, which retries and rewords: what a program sees."""

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
from webhook.admission.deadline import Deadline
from webhook.clients.api import Reply
from webhook.clients.kubernetes import KubernetesClient, load_configuration

RUNS_PATH = "/apis/orchestration.proompteng.ai/v1alpha1/namespaces/{}/orchestrationruns"
DEPLOYMENTS_PATH = "/apis/apps/v1/namespaces/{}/deployments"
_SECONDS = 60.0


class RawClient:
    """A client of the API server that repeats nothing.

    Args:
        client: The connections.
    """

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def create(self, path: str, manifest: Object) -> Reply:
        """POST an object."""
        return await self._client.send("POST", path, json.dumps(manifest).encode(), self._deadline())

    async def get(self, path: str) -> Reply:
        """GET anything."""
        return await self._client.get(path, self._deadline())

    def _deadline(self) -> Deadline:
        return Deadline.after(_SECONDS, time.monotonic)


@asynccontextmanager
async def raw_client(kubeconfig: Path, *, connections: int = 64) -> AsyncIterator[RawClient]:
    """Open connections as whoever a kubeconfig says."""
    client = KubernetesClient(await load_configuration(str(kubeconfig)), user_agent="tests", connections=connections)
    try:
        yield RawClient(client)
    finally:
        await client.close()


def body(reply: Reply) -> dict[str, Any]:
    """Read the JSON of a reply."""
    document: dict[str, Any] = json.loads(reply.body)
    return document


async def side_by_side(writers: int, jobs: Sequence[Callable[[], Awaitable[Reply]]]) -> list[Reply]:
    """Do jobs in order, so many at a time; returns their replies in the same order."""
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
    """Read from the API server's metrics how many calls of webhooks failed, by series."""
    text = plane.kubectl("get", "--raw", "/metrics").stdout
    failures = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        failed_open = series.startswith("apiserver_admission_webhook_fail_open_count")
        not_called = series.startswith("apiserver_admission_webhook_rejection_count") and "no_error" not in series
        if failed_open or not_called:
            failures[series] = float(value)
    return failures
