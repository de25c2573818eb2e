"""Confirmation by the watch: a real API server, a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from tests.e2e.objects import RUNS, run
from tests.rollonce import RUN_CRD
from tests.valkey import Valkey
from tests.webhook.hooks.dedupe.conftest import soon
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.clients.redis import RedisClient, parse_url
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.record import Record, State
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.sightings import Sightings
from webhook.hooks.dedupe.store import Store


class Watcher:
    """The part of the controller and what it works with."""

    def __init__(self, api: KubernetesClient, client: RedisClient, namespace: str) -> None:
        settings = DedupeSettings(namespaces=(namespace,))
        self.namespace = namespace
        self.store = Store(client)
        self.metrics = DedupeMetrics(CollectorRegistry())
        self.part = Sightings(
            api,
            Runs(api, settings.resource),
            Confirmer(self.store, settings, time.time, self.metrics),
            settings,
            monotonic=time.monotonic,
            chance=random.random,
            sleep=asyncio.sleep,
            log=structlog.get_logger(),
        )

    async def record(self, delivery_id: str) -> Record | None:
        """What the store remembers of a delivery."""
        _, record = await self.store.get(DeliveryKey(self.namespace, "build", delivery_id), soon())
        return record

    async def until_confirmed(self, delivery_id: str, *, phase: str = "") -> None:
        """Wait until a delivery's run was seen."""
        deadline = soon(20)
        while True:
            record = await self.record(delivery_id)
            if record and record.state is State.CONFIRMED and record.phase == phase:
                return
            deadline.require()
            await asyncio.sleep(0.02)


@pytest.fixture
async def watcher(plane: ControlPlane, namespace: str, valkey: Valkey) -> AsyncIterator[Watcher]:
    """Not running yet."""
    plane.kubectl("apply", "-f", str(RUN_CRD))
    plane.kubectl("wait", "--for=condition=Established", "-f", str(RUN_CRD), "--timeout=30s")
    api = KubernetesClient(await load_configuration(str(plane.kubeconfig)), user_agent="tests")
    client = RedisClient(parse_url(valkey.url))
    yield Watcher(api, client, namespace)
    await client.close()
    await api.close()


@contextlib.asynccontextmanager
async def running(watcher: Watcher) -> AsyncIterator[None]:
    """Let the part work."""
    task = asyncio.create_task(watcher.part.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def create(plane: ControlPlane, namespace: str, name: str) -> None:
    """Store a run whose delivery has its name."""
    manifest = json.dumps(run(name, name=name))
    await asyncio.to_thread(plane.kubectl, "create", "-n", namespace, "-f", "-", input=manifest)


@pytest.mark.cluster
async def test_runs_are_confirmed_from_list_and_watch(plane: ControlPlane, namespace: str, watcher: Watcher) -> None:
    """A run that was there before is confirmed, one that comes later too, and its phase is kept as last seen."""
    await create(plane, namespace, "before")
    async with running(watcher):
        await watcher.until_confirmed("before")
        await create(plane, namespace, "later")
        await watcher.until_confirmed("later")
        patch = ("--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Running"}}')
        await asyncio.to_thread(plane.kubectl, "patch", RUNS, "later", "-n", namespace, *patch)
        await watcher.until_confirmed("later", phase="Running")


@pytest.mark.cluster
async def test_nothing_is_missed_while_redis_is_away(
    plane: ControlPlane, namespace: str, watcher: Watcher, valkey: Valkey
) -> None:
    """What is created while Redis is down is confirmed when it is back, also when it was deleted meanwhile."""
    async with running(watcher):
        await create(plane, namespace, "first")
        await watcher.until_confirmed("first")
        valkey.kill()
        await create(plane, namespace, "second")
        await create(plane, namespace, "third")
        await asyncio.to_thread(plane.kubectl, "delete", RUNS, "second", "-n", namespace)
        valkey.restart()
        await watcher.until_confirmed("third")
        await watcher.until_confirmed("second")


@pytest.mark.cluster
async def test_what_was_created_while_nobody_watched_is_confirmed_at_the_next_start(
    plane: ControlPlane, namespace: str, watcher: Watcher
) -> None:
    """The part begins where it ended, and confirming again changes nothing."""
    async with running(watcher):
        await create(plane, namespace, "first")
        await watcher.until_confirmed("first")
    seen = await watcher.record("first")
    await create(plane, namespace, "second")
    async with running(watcher):
        await watcher.until_confirmed("second")
    assert await watcher.record("first") == seen
    assert watcher.metrics.confirmations.labels("watch")._value.get() == 2
