"""Writers that never stop, and what the API server says of the calls that they caused."""

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

#: So that the machine is busy, but not so busy that calls time out for that.
_PAUSE_SECONDS = 0.1
_RUNS = "/apis/orchestration.proompteng.ai/v1alpha1/namespaces/{}/orchestrationruns"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments/{}"


class Load:
    """Twenty writers, each with two writes at a time: a run with a delivery of its own, and a Deployment opted in.

    So 40 calls want a connection at the same time, of which the API server keeps 25: new ones are made all the time.
    It runs in a thread of its own. Use it as a context manager.

    Attributes:
        written: Writes that succeeded and carry what our webhooks add.
        failures: How often each other answer came.
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
        """Wait for so many more good writes."""
        wanted = self.written + count
        self._plane.wait_for(lambda: self.written >= wanted, timeout, f"{count} more writes")

    def __enter__(self) -> Self:
        workloads = [deployment(f"web-{number}", replicas=0, secrets="database") for number in range(self._writers)]
        self._plane.apply([secret("database", password="one"), *workloads], namespace=self._namespace)
        self._thread.start()
        self.wait_for(self._writers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
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
        await self._ask(api, "POST", _RUNS.format(self._namespace), body, "jangar.proompteng.ai/delivery-id")

    async def _update(self, api: RealApi, number: int, count: int) -> None:
        path = _DEPLOYMENTS.format(self._namespace, f"web-{number}")
        body = json.dumps({"metadata": {"annotations": {"count": str(count)}}}).encode()
        await self._ask(api, "PATCH", path, body, "checksum/secret.database")

    async def _ask(self, api: RealApi, method: str, path: str, body: bytes, added: str) -> None:
        kind = "application/json" if method == "POST" else "application/merge-patch+json"
        try:
            status, answer = await api.request(method, path, body, kind)
        except ApiUnavailableError as error:
            self.failures[str(error)] += 1
            return
        if status in (200, 201) and f'"{added}"'.encode() in answer:
            self.written += 1
        else:
            said = json.loads(answer).get("message", "it lacks what a webhook adds")
            self.failures[f"{status} {said}"] += 1


def failed_calls(plane: ControlPlane) -> float:
    """Count the calls of webhooks that failed, as the API server tells of them.

    Refused by `failurePolicy: Fail`, or gone on without by `Ignore`; a refusal that a webhook itself decided is none.
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
    """Count all calls of webhooks, as the API server tells of them."""
    total = 0.0
    for line in plane.kubectl("get", "--raw", "/metrics").stdout.splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == "apiserver_admission_webhook_request_total":
            total += float(value)
    return total
