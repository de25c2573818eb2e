"""Confirmation by the controller's watch: a real API server, a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from tests.e2e.objects import RUNS, run
from tests.rollonce import RUN_CRD
from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import fresh, soon
from tests.webhook.dedupe.model_redis import ModelClient, ModelRedis
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.record import Record, State
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.run_watcher import RunWatcher
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.wiring import Records
from webhook.errors import StoreError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.metrics import WatchMetrics
from webhook.kube.reflector import WatchContext
from webhook.runtime.clock import Clock
from webhook.store.api import ScriptRunner
from webhook.store.client import RedisClient
from webhook.store.url import parse_url


class Controller:
    """The controller's part of deduplication."""

    def __init__(self, api: KubernetesClient, client: ScriptRunner, namespace: str) -> None:
        settings = DedupeSettings(namespaces=(namespace,))
        clock, log = Clock(), structlog.get_logger()
        self.namespace = namespace
        self.metrics = DedupeMetrics(CollectorRegistry())
        self.watch_metrics = WatchMetrics(CollectorRegistry())
        records = Records(settings, api, client, clock=clock, log=log, metrics=self.metrics)
        self.store = records.store
        self.watcher: RunWatcher = records.run_watcher(WatchContext(api, clock, log, self.watch_metrics))

    async def record(self, delivery_id: str) -> Record | None:
        """Return the record of a delivery."""
        _, record = await self.store.get(DeliveryKey(self.namespace, "build", delivery_id).address, soon())
        return record

    async def until_confirmed(self, delivery_id: str, *, phase: str = "") -> None:
        """Wait until the run of a delivery is confirmed."""
        deadline = soon(20)
        while True:
            record = await self.record(delivery_id)
            if record and record.state is State.CONFIRMED and record.phase == phase:
                return
            deadline.require()
            await asyncio.sleep(0.02)


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """A connection to an API server that has the resource."""
    plane.kubectl("apply", "-f", str(RUN_CRD))
    plane.kubectl("wait", "--for=condition=Established", "-f", str(RUN_CRD), "--timeout=30s")
    client = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="tests")
    yield client
    await client.close()


@pytest.fixture
async def controller(api: KubernetesClient, namespace: str, valkey: Valkey) -> AsyncIterator[Controller]:
    """A controller that does not run yet."""
    client = RedisClient(parse_url(valkey.url))
    yield Controller(api, client, namespace)
    await client.close()


@contextlib.asynccontextmanager
async def running(controller: Controller) -> AsyncIterator[None]:
    """Run the watcher."""
    task = asyncio.create_task(controller.watcher.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def create(plane: ControlPlane, namespace: str, name: str) -> None:
    """Store a run whose deliveryId is its name."""
    manifest = json.dumps(run(name, name=name))
    await asyncio.to_thread(plane.kubectl, "create", "-n", namespace, "-f", "-", input=manifest)


@pytest.mark.cluster
async def test_runs_are_confirmed_from_list_and_watch(
    plane: ControlPlane, namespace: str, controller: Controller
) -> None:
    """A run that existed before is confirmed, a later one too, and the last phase that was seen is kept."""
    await create(plane, namespace, "before")
    async with running(controller):
        await controller.until_confirmed("before")
        await create(plane, namespace, "later")
        await controller.until_confirmed("later")
        patch = ("--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Running"}}')
        await asyncio.to_thread(plane.kubectl, "patch", RUNS, "later", "-n", namespace, *patch)
        await controller.until_confirmed("later", phase="Running")


@pytest.mark.cluster
async def test_nothing_is_missed_while_redis_is_down(
    plane: ControlPlane, namespace: str, controller: Controller, valkey: Valkey
) -> None:
    """What is created while Redis is down is confirmed when it is back, also if it was deleted meanwhile."""
    async with running(controller):
        await create(plane, namespace, "first")
        await controller.until_confirmed("first")
        valkey.kill()
        await create(plane, namespace, "second")
        await create(plane, namespace, "third")
        await asyncio.to_thread(plane.kubectl, "delete", RUNS, "second", "-n", namespace)
        valkey.restart()
        await controller.until_confirmed("third")
        await controller.until_confirmed("second")


@pytest.mark.cluster
async def test_what_was_created_between_two_starts_is_confirmed_at_the_next(
    plane: ControlPlane, namespace: str, controller: Controller
) -> None:
    """A watcher that runs again confirms what it has missed, and confirming again changes nothing."""
    async with running(controller):
        await create(plane, namespace, "first")
        await controller.until_confirmed("first")
    confirmed = await controller.record("first")
    await create(plane, namespace, "second")
    async with running(controller):
        await controller.until_confirmed("second")
    assert await controller.record("first") == confirmed
    assert controller.metrics.confirmations.labels("watch")._value.get() == 2


class Slow:
    """The delivery of messages to a Redis, which counts how many are under way."""

    def __init__(self, fails: Callable[[], bool] = lambda: False) -> None:
        self.under_way = 0
        self.most = 0
        self._fails = fails

    async def __call__(self, repeated: bool) -> None:  # noqa: ARG002, FBT001 - as `ModelClient` calls it
        """Deliver a message."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if self._fails():
            raise StoreError("Redis cannot be reached.")


def page(count: int) -> list[msgspec.Raw]:
    """Return runs of different deliveries, and in the middle an object that cannot be decoded as a run."""
    items = [msgspec.json.encode(fresh(f"run-{number}", delivery_id=f"d-{number}")) for number in range(count)]
    items.insert(count // 2, b'{"metadata": {"name": "odd", "labels": 5}}')
    return [msgspec.Raw(item) for item in items]


@pytest.mark.cluster
async def test_a_page_is_confirmed_sixteen_at_a_time_and_odd_objects_are_left_out(api: KubernetesClient) -> None:
    """A large page does not flood Redis, and an object that cannot be decoded does not hide the others."""
    redis, slow = ModelRedis(lambda: 1), Slow()
    controller = Controller(api, ModelClient(redis, slow), "shop")
    items = page(100)
    with structlog.testing.capture_logs() as lines:
        await controller.watcher.page(items)
    assert items == []
    assert len(redis.keys) == 100
    assert slow.most == 16
    assert [line["run"] for line in lines] == ["odd"]
    assert controller.watch_metrics.failures.labels("orchestrationruns", "object")._value.get() == 1


@pytest.mark.cluster
async def test_a_failed_page_is_an_error_after_which_nothing_is_under_way(api: KubernetesClient) -> None:
    """The error of one confirmation ends the page, so that the reflector reads it again."""
    slow = Slow(fails=lambda: True)
    controller = Controller(api, ModelClient(ModelRedis(lambda: 1), slow), "shop")
    with pytest.raises(StoreError):
        await controller.watcher.page(page(100))
    assert slow.under_way == 0
