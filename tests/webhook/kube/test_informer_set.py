"""`InformerSet`: many selections as one mapping, changed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog
from prometheus_client import CollectorRegistry

from tests.controlplane import ControlPlane
from tests.webhook.kube.informers import partial
from tests.webhook.kube.test_informer import apply, delete, secret, secrets
from tests.webhook.kube.waiting import eventually
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.informer import InformerSet
from webhook.kube.metrics import WatchMetrics
from webhook.kube.objects import Key, PartialObject
from webhook.kube.reflector import WatchContext
from webhook.runtime.clock import Clock


@contextlib.asynccontextmanager
async def following(
    plane: ControlPlane, reported: list[str], registry: CollectorRegistry
) -> AsyncIterator[InformerSet[PartialObject]]:
    """Run an informer set until the end of the block, with a client that allows a hundred watches."""
    configuration = await load_configuration(str(plane.kubeconfig))
    api = KubernetesClient(configuration, user_agent="rollonce-test", connections=110)

    def changed(key: Key, _: PartialObject | None, after: PartialObject | None) -> None:
        reported.append(f"{'+' if after else '-'}{key.name}")

    informers = InformerSet(
        WatchContext(api, Clock(), structlog.get_logger(), WatchMetrics(registry)), PartialObject, changed=changed
    )
    task = asyncio.create_task(informers.run())
    try:
        async with asyncio.timeout(60):
            yield informers
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()


async def test_a_hundred_selections_are_one_mapping(plane: ControlPlane, namespace: str) -> None:
    """Each selected name has a watch and its changes are reported; other names are ignored."""
    await apply(plane, namespace, secret("name-7"), secret("unrelated"))
    reported: list[str] = []
    registry = CollectorRegistry()
    async with following(plane, reported, registry) as informers:
        informers.select(partial(secrets(namespace), name=f"name-{number}") for number in range(100))
        await informers.wait_synced()
        assert list(informers) == [Key(namespace, "name-7")]
        await eventually(lambda: registry.get_sample_value("rollonce_watch_behind", {"resource": "secrets"}) == 0)
        await apply(plane, namespace, secret("name-99"), secret("unrelated", a="1"), secret("name-0"))
        await delete(plane, namespace, "secret/name-7")
        await eventually(lambda: len(reported) == 4)
        assert reported == ["+name-7", "+name-99", "+name-0", "-name-7"]
        assert {key.name for key in informers} == {"name-99", "name-0"}
        assert informers[Key(namespace, "name-0")].metadata.name == "name-0"
        assert len(informers) == 2


async def test_selections_can_change(plane: ControlPlane, namespace: str) -> None:
    """Objects of a dropped selection disappear without a report, and objects of a new selection are reported."""
    await apply(plane, namespace, secret("a"), secret("b"), secret("c"))
    reported: list[str] = []
    registry = CollectorRegistry()
    async with following(plane, reported, registry) as informers:
        first, second, third = (partial(secrets(namespace), name=name) for name in "abc")
        informers.select((first, second))
        await informers.wait_synced()
        informers.select((second, third))
        assert {key.name for key in informers} == {"b"}
        await informers.wait_synced()
        assert {key.name for key in informers} == {"b", "c"}
        assert sorted(reported) == ["+a", "+b", "+c"]
        await delete(plane, namespace, "secret/a", "secret/b")
        await eventually(lambda: "-b" in reported)
        assert "-a" not in reported
        assert registry.get_sample_value("rollonce_watch_objects", {"resource": "secrets"}) == 1
