"""Many selections as one mapping, changed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from tests.webhook.controller.mirrors import partial
from tests.webhook.controller.test_watch import apply, delete, secret, secrets
from tests.webhook.controller.waiting import eventually
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.controller.metrics import WatchMetrics
from webhook.controller.mirrors import Mirrors
from webhook.controller.objects import Key, PartialObject


@contextlib.asynccontextmanager
async def following(
    plane: ControlPlane, told: list[str], registry: CollectorRegistry
) -> AsyncIterator[Mirrors[PartialObject]]:
    """Run mirrors until the end of the block, by a client with room for a hundred watches."""
    configuration = await load_configuration(str(plane.kubeconfig))
    api = KubernetesClient(configuration, user_agent="rollonce-test", connections=110)

    def changed(key: Key, _: PartialObject | None, after: PartialObject | None) -> None:
        told.append(f"{'+' if after else '-'}{key.name}")

    mirrors = Mirrors(
        api,
        PartialObject,
        changed=changed,
        clock=time.monotonic,
        chance=random.random,
        log=structlog.get_logger(),
        metrics=WatchMetrics(registry),
    )
    task = asyncio.create_task(mirrors.run())
    try:
        async with asyncio.timeout(60):
            yield mirrors
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()


async def test_a_hundred_names_are_one_mapping(plane: ControlPlane, namespace: str) -> None:
    """Each name has its watch; all of them are heard, and names that are not wanted are not."""
    await apply(plane, namespace, secret("name-7"), secret("unrelated"))
    told: list[str] = []
    registry = CollectorRegistry()
    async with following(plane, told, registry) as mirrors:
        mirrors.want(partial(secrets(namespace), name=f"name-{number}") for number in range(100))
        await mirrors.wait_synced()
        assert list(mirrors) == [Key(namespace, "name-7")]
        await eventually(lambda: registry.get_sample_value("rollonce_watch_behind", {"resource": "secrets"}) == 0)
        await apply(plane, namespace, secret("name-99"), secret("unrelated", a="1"), secret("name-0"))
        await delete(plane, namespace, "secret/name-7")
        await eventually(lambda: len(told) == 4)
        assert told == ["+name-7", "+name-99", "+name-0", "-name-7"]
        assert {key.name for key in mirrors} == {"name-99", "name-0"}
        assert mirrors[Key(namespace, "name-0")].metadata.name == "name-0"
        assert len(mirrors) == 2


async def test_what_is_wanted_can_change(plane: ControlPlane, namespace: str) -> None:
    """A name that is wanted no more is gone without a word, and what is wanted anew is told."""
    await apply(plane, namespace, secret("a"), secret("b"), secret("c"))
    told: list[str] = []
    registry = CollectorRegistry()
    async with following(plane, told, registry) as mirrors:
        one, two, three = (partial(secrets(namespace), name=name) for name in "abc")
        mirrors.want((one, two))
        await mirrors.wait_synced()
        mirrors.want((two, three))
        assert {key.name for key in mirrors} == {"b"}
        await mirrors.wait_synced()
        assert {key.name for key in mirrors} == {"b", "c"}
        assert sorted(told) == ["+a", "+b", "+c"]
        await delete(plane, namespace, "secret/a", "secret/b")
        await eventually(lambda: "-b" in told)
        assert "-a" not in told
        assert registry.get_sample_value("rollonce_watch_objects", {"resource": "secrets"}) == 1
