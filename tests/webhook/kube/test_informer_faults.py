"""Informers while the API server is killed, restarted or compacted: no change is lost or reported twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from tests.controlplane import ControlPlane
from tests.webhook.kube.informers import Watched, following, partial, watching
from tests.webhook.kube.test_informer import apply, configmap, configmaps, delete
from tests.webhook.kube.waiting import eventually
from webhook.kube.api import Reply
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.objects import PartialObject
from webhook.runtime.deadline import Deadline

pytestmark = pytest.mark.cluster

NAMESPACE = "default"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane for the tests that break and repair it."""
    with ControlPlane.start(tmp_path_factory.mktemp("fragile")) as running:
        yield running


class GatedClient(KubernetesClient):
    """A client whose second GET waits for an event."""

    def __init__(self, client: KubernetesClient) -> None:
        super().__init__(client._configuration, user_agent="rollonce-test")
        self.gate = asyncio.Event()
        self.gets = 0

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """Send a GET request; the second one waits until `gate` is set."""
        self.gets += 1
        if self.gets == 2:
            await self.gate.wait()
        return await super().get(path, deadline, query=query, accept=accept)


@pytest.fixture
async def api(fragile: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """Connect as an administrator."""
    client = KubernetesClient(await load_configuration(str(fragile.kubeconfig)), user_agent="rollonce-test")
    yield client
    await client.close()


async def state(plane: ControlPlane) -> dict[str, str]:
    """Return names and versions of the ConfigMaps from the API server."""
    columns = "jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}"
    listed = await asyncio.to_thread(plane.kubectl, "get", "configmaps", "-n", NAMESPACE, "-o", columns)
    return dict(line.split() for line in listed.stdout.splitlines())


def known(watched: Watched[PartialObject]) -> dict[str, str]:
    """Return names and versions of the ConfigMaps from the informer."""
    return {item.metadata.name: item.metadata.resource_version for item in watched.informer.values()}


def replayed(watched: Watched[PartialObject]) -> dict[str, str]:
    """Return names and versions of the ConfigMaps from the reported differences; fail if these are inconsistent."""
    objects: dict[str, PartialObject] = {}
    for name, before, after in watched.reported:
        assert objects.get(name) == before
        assert before != after
        if after is None:
            del objects[name]
        else:
            objects[name] = after
    return {name: item.metadata.resource_version for name, item in objects.items()}


async def until_current(plane: ControlPlane, watched: Watched[PartialObject]) -> None:
    """Wait until the informer holds what the API server holds, and has reported it."""
    expected = await state(plane)
    await eventually(lambda: known(watched) == expected, timeout=60)
    assert replayed(watched) == expected


async def test_a_restart_of_the_api_server_loses_no_change(fragile: ControlPlane, api: KubernetesClient) -> None:
    """Changes before and after a kill of the API server are all reported."""
    async with watching(api, partial(configmaps(NAMESPACE)), PartialObject) as watched:
        for turn in range(3):
            await apply(fragile, NAMESPACE, configmap(f"before-{turn}"), configmap("hot", turn=str(turn)))
            fragile.kill("apiserver")
            await asyncio.to_thread(fragile.restart, "apiserver")
            await apply(fragile, NAMESPACE, configmap(f"after-{turn}"), configmap("hot", turn=f"{turn}!"))
            await delete(fragile, NAMESPACE, f"configmap/before-{turn}")
            await until_current(fragile, watched)


async def test_changes_beyond_the_watch_history_are_found(fragile: ControlPlane, api: KubernetesClient) -> None:
    """After 410 Gone a new list finds added, changed, deleted and recreated objects."""
    names = ("unchanged", "changed", "deleted", "recreated")
    await apply(fragile, NAMESPACE, *(configmap(name) for name in names))
    async with watching(api, partial(configmaps(NAMESPACE)), PartialObject) as watched:
        first = len(watched.reported)
        watched.task.cancel()
        await asyncio.gather(watched.task, return_exceptions=True)
        await delete(fragile, NAMESPACE, "configmap/deleted", "configmap/recreated")
        await apply(fragile, NAMESPACE, configmap("changed", a="1"), configmap("recreated"), configmap("added"))
        fragile.compact()
        await asyncio.to_thread(fragile.restart, "apiserver")
        again = asyncio.create_task(watched.informer.run())
        await until_current(fragile, watched)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        reported = {
            name: (before, after) for name, before, after in watched.reported[first:] if name in {*names, "added"}
        }
        assert reported.keys() == {"changed", "deleted", "recreated", "added"}
        assert reported["deleted"][1] is None
        assert reported["added"][0] is None
        before, after = reported["recreated"]
        assert before is not None
        assert after is not None
        assert before.metadata.uid != after.metadata.uid
        assert watched.metric("rollonce_watch_failures_total", resource="configmaps", reason="gone") == 1
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 2


async def test_a_list_that_expires_between_pages_is_repeated(fragile: ControlPlane, api: KubernetesClient) -> None:
    """If a list expires after its first pages, a new list gives the current state."""
    await apply(fragile, NAMESPACE, *(configmap(f"page-{number}") for number in range(5)))
    gated = GatedClient(api)
    async with following(gated, partial(configmaps(NAMESPACE)), PartialObject, first_page=2) as watched:
        await eventually(lambda: gated.gets == 2)
        assert len(watched.informer) == 2
        await delete(fragile, NAMESPACE, "configmap/page-0", "configmap/page-4")
        fragile.compact()
        await asyncio.to_thread(fragile.restart, "apiserver")
        assert not watched.informer.synced.is_set()
        gated.gate.set()
        await until_current(fragile, watched)
        assert watched.metric("rollonce_watch_failures_total", resource="configmaps", reason="gone") == 1
    await gated.close()


async def test_a_frozen_api_server_causes_no_new_list(fragile: ControlPlane, api: KubernetesClient) -> None:
    """A silent watch ends, and when the API server continues, the next watch starts from the last version."""
    async with watching(api, partial(configmaps(NAMESPACE)), PartialObject, silence=1.0, watch_seconds=1.0) as watched:
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 0)
        fragile.freeze("apiserver")
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 1)
        fragile.thaw("apiserver")
        await apply(fragile, NAMESPACE, configmap("thawed"))
        await until_current(fragile, watched)
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
