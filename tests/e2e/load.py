"""Continuous writes, and the webhook calls that the API server counts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from types import TracebackType
from typing import Self
from uuid import uuid4

from certs.errors import ApiUnavailableError
from tests.certs.cluster import RealApi, connected
from tests.controlplane import ControlPlane
from tests.e2e.objects import deployment, run, secret

#: Long enough that calls do not time out because the machine is overloaded.
_PAUSE_SECONDS = 0.1
_RUNS = "/apis/orchestration.proompteng.ai/v1alpha1/namespaces/{}/orchestrationruns"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments/{}"


class Load:
    """Twenty writers, each with two concurrent writes: a run with a new delivery, and an opted-in Deployment.

    So up to 40 calls need a connection at the same time, and the API server keeps 25 idle ones: new connections are
    opened all the time. It runs in its own thread. Use it as a context manager.

    Attributes:
        written: Writes that succeeded and have what the webhooks add.
        failures: Number of each other answer.
    """

    def __init__(self, plane: ControlPlane, namespace: str, *, writers: int = 20) -> None:
        self.written = 0
        self.failures = Counter[str]()
        self._plane = plane
        self._namespace = namespace
        self._writers = writers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)

    def wait_for(self, count: int, *, timeout: float = 30.0) -> None:
        """Wait for so many more successful writes."""
        expected = self.written + count
        self._plane.wait_for(lambda: self.written >= expected, timeout, f"{count} more writes")

    def __enter__(self) -> Self:
        workloads = [deployment(f"web-{number}", replicas=0, secrets="database") for number in range(self._writers)]
        self._plane.apply([secret("database", password="one"), *workloads], namespace=self._namespace)
        self._thread.start()
        self.wait_for(self._writers)
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _run(self) -> None:
        async with connected(self._plane) as api:
            await asyncio.gather(*(self._write(api, number) for number in range(self._writers)))

    async def _write(self, api: RealApi, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            await asyncio.gather(self._create(api), self._update(api, number, count))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _create(self, api: RealApi) -> None:
        body = json.dumps(run(str(uuid4()))).encode()
        await self._request(api, "POST", _RUNS.format(self._namespace), body, "jangar.proompteng.ai/delivery-id")

    async def _update(self, api: RealApi, number: int, count: int) -> None:
        path = _DEPLOYMENTS.format(self._namespace, f"web-{number}")
        body = json.dumps({"metadata": {"annotations": {"count": str(count)}}}).encode()
        await self._request(api, "PATCH", path, body, "checksum/secret.database")

    async def _request(self, api: RealApi, method: str, path: str, body: bytes, added: str) -> None:
        kind = "application/json" if method == "POST" else "application/merge-patch+json"
        try:
            status, answer = await api.request(method, path, body, kind)
        except ApiUnavailableError as error:
            self.failures[str(error)] += 1
            return
        if status in (200, 201) and f'"{added}"'.encode() in answer:
            self.written += 1
        else:
            message = json.loads(answer).get("message", "it lacks what a webhook adds")
            self.failures[f"{status} {message}"] += 1


def failed_calls(plane: ControlPlane) -> float:
    """Return how many webhook calls failed, from the metrics of the API server.

    It counts requests refused by `failurePolicy: Fail` and calls skipped by `Ignore`, but not refusals by a webhook.
    """
    total = 0.0
    for line in plane.kubectl("get", "--raw", "/metrics").stdout.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        refused = name == "apiserver_admission_webhook_rejection_count" and 'error_type="no_error"' not in series
        if refused or name == "apiserver_admission_webhook_fail_open_count":
            total += float(value)
    return total


def made_calls(plane: ControlPlane) -> float:
    """Return the number of webhook calls, from the metrics of the API server."""
    total = 0.0
    for line in plane.kubectl("get", "--raw", "/metrics").stdout.splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == "apiserver_admission_webhook_request_total":
            total += float(value)
    return total
