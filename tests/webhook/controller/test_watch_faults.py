"""Mirrors while the API server dies, comes back and forgets: nothing is lost, nothing is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from tests.controlplane import ControlPlane
from tests.webhook.controller.mirrors import Watched, following, partial, watching
from tests.webhook.controller.test_watch import apply, configmap, configmaps, delete
from tests.webhook.controller.waiting import eventually
from webhook.admission.deadline import Deadline
from webhook.clients.api import Reply
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.controller.objects import PartialObject

pytestmark = pytest.mark.cluster

NAMESPACE = "default"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that is broken by one test after the other, and mended by each."""
    with ControlPlane.start(tmp_path_factory.mktemp("fragile")) as running:
        yield running


class GatedClient(KubernetesClient):
    """A client whose second GET waits until it is let through."""

    def __init__(self, client: KubernetesClient) -> None:
        super().__init__(client._configuration, user_agent="rollonce-test")
        self.gate = asyncio.Event()
        self.gets = 0

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """GET, later."""
        self.gets += 1
        if self.gets == 2:
            await self.gate.wait()
        return await super().get(path, deadline, query=query, accept=accept)


@pytest.fixture
async def api(fragile: ControlPlane) -> AsyncIterator[KubernetesClient]:
    """An administrator's connection."""
    client = KubernetesClient(await load_configuration(str(fragile.kubeconfig)), user_agent="rollonce-test")
    yield client
    await client.close()


async def state(plane: ControlPlane) -> dict[str, str]:
    """Names and versions of the ConfigMaps, as the API server has them."""
    columns = "jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{'\\n'}{end}"
    listed = await asyncio.to_thread(plane.kubectl, "get", "configmaps", "-n", NAMESPACE, "-o", columns)
    return dict(line.split() for line in listed.stdout.splitlines())


def mirrored(watched: Watched[PartialObject]) -> dict[str, str]:
    """The same, as the mirror has it."""
    return {item.metadata.name: item.metadata.resource_version for item in watched.mirror.values()}


def replayed(watched: Watched[PartialObject]) -> dict[str, str]:
    """The same, as somebody has it who took note of what was told; fails if that did not fit together."""
    known: dict[str, PartialObject] = {}
    for name, before, after in watched.told:
        assert known.get(name) == before
        assert before != after
        if after is None:
            del known[name]
        else:
            known[name] = after
    return {name: item.metadata.resource_version for name, item in known.items()}


async def caught_up(plane: ControlPlane, watched: Watched[PartialObject]) -> None:
    """Wait until the mirror holds what the API server holds, and was told of it."""
    expected = await state(plane)
    await eventually(lambda: mirrored(watched) == expected, timeout=60)
    assert replayed(watched) == expected


async def test_an_api_server_that_is_killed_and_restarted(fragile: ControlPlane, api: KubernetesClient) -> None:
    """Changes before, during and after are all there."""
    async with watching(api, partial(configmaps(NAMESPACE)), PartialObject) as watched:
        for turn in range(3):
            await apply(fragile, NAMESPACE, configmap(f"before-{turn}"), configmap("hot", turn=str(turn)))
            fragile.kill("apiserver")
            await asyncio.to_thread(fragile.restart, "apiserver")
            await apply(fragile, NAMESPACE, configmap(f"after-{turn}"), configmap("hot", turn=f"{turn}!"))
            await delete(fragile, NAMESPACE, f"configmap/before-{turn}")
            await caught_up(fragile, watched)


async def test_what_was_missed_beyond_the_history_is_found(fragile: ControlPlane, api: KubernetesClient) -> None:
    """410 Gone: a new list tells what appeared, what changed, what vanished and what was made anew."""
    names = ("stays", "changes", "vanishes", "again")
    await apply(fragile, NAMESPACE, *(configmap(name) for name in names))
    async with watching(api, partial(configmaps(NAMESPACE)), PartialObject) as watched:
        first = len(watched.told)
        watched.task.cancel()
        await asyncio.gather(watched.task, return_exceptions=True)
        await delete(fragile, NAMESPACE, "configmap/vanishes", "configmap/again")
        await apply(fragile, NAMESPACE, configmap("changes", a="1"), configmap("again"), configmap("appears"))
        fragile.compact()
        await asyncio.to_thread(fragile.restart, "apiserver")
        again = asyncio.create_task(watched.mirror.run())
        await caught_up(fragile, watched)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        told = {name: (before, after) for name, before, after in watched.told[first:] if name in {*names, "appears"}}
        assert told.keys() == {"changes", "vanishes", "again", "appears"}
        assert told["vanishes"][1] is None
        assert told["appears"][0] is None
        before, after = told["again"]
        assert before is not None
        assert after is not None
        assert before.metadata.uid != after.metadata.uid
        assert watched.metric("rollonce_watch_failures_total", resource="configmaps", reason="gone") == 1
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 2


async def test_a_list_that_expires_between_two_pages_is_begun_anew(
    fragile: ControlPlane, api: KubernetesClient
) -> None:
    """What the first pages told stays true; the new list tells the rest."""
    await apply(fragile, NAMESPACE, *(configmap(f"page-{number}") for number in range(5)))
    gated = GatedClient(api)
    async with following(gated, partial(configmaps(NAMESPACE)), PartialObject, first_page=2) as watched:
        await eventually(lambda: gated.gets == 2)
        assert len(watched.mirror) == 2
        await delete(fragile, NAMESPACE, "configmap/page-0", "configmap/page-4")
        fragile.compact()
        await asyncio.to_thread(fragile.restart, "apiserver")
        assert not watched.mirror.synced.is_set()
        gated.gate.set()
        await caught_up(fragile, watched)
        assert watched.metric("rollonce_watch_failures_total", resource="configmaps", reason="gone") == 1
    await gated.close()


async def test_a_frozen_api_server_is_waited_for(fragile: ControlPlane, api: KubernetesClient) -> None:
    """Its silence ends the watch; thawed, it is asked again from where it was."""
    async with watching(api, partial(configmaps(NAMESPACE)), PartialObject, silence=1.0) as watched:
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 0)
        fragile.freeze("apiserver")
        await eventually(lambda: watched.metric("rollonce_watch_behind", resource="configmaps") == 1)
        fragile.thaw("apiserver")
        await apply(fragile, NAMESPACE, configmap("thawed"))
        await caught_up(fragile, watched)
        assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
