"""Parts that die while a delivery is on its way: one run is stored in the end, and nobody is blocked for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.objects import RUNS, Object, run, runs
from tests.e2e.raw import RawClient, body, raw_client, side_by_side
from tests.e2e.submitting import SETTINGS, names, submit, tight_plane, until_answered, until_whole
from tests.rollonce import Installation
from tests.valkey import Valkey
from webhook.errors import KubernetesError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose parts are frozen and killed."""
    with tight_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The store of the servers that most tests share."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def shared(plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two servers over one store."""
    with Installation.start(
        plane, tmp_path_factory.mktemp("servers"), redis_url=store.url, replicas=2, settings=SETTINGS, register=False
    ) as running:
        yield running


@pytest.fixture
def installation(plane: ControlPlane, shared: Installation) -> Installation:
    """The same, over a store that is whole, and called by the API server even if another test had its own called."""
    shared.register()
    until_whole(plane, shared)
    return shared


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[RawClient]:
    """A program that submits, and repeats nothing."""
    async with raw_client(plane.kubeconfig) as made:
        yield made


async def test_what_was_committed_behind_a_dead_api_server_is_found(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """With etcd frozen after our yes and the API server killed the client saw an error; a retry finds the run."""
    before = installation.metric("rollonce_dedupe_decisions_total", outcome="allow")
    plane.freeze("etcd")
    created = asyncio.create_task(submit(client, namespace, run("d", name="first"))())
    try:
        await asyncio.to_thread(
            plane.wait_for,
            lambda: installation.metric("rollonce_dedupe_decisions_total", outcome="allow") == before + 1,
            what="our yes",
        )
        plane.kill("apiserver")
    finally:
        plane.thaw("etcd")
    with pytest.raises(KubernetesError):
        await created
    await asyncio.to_thread(plane.restart, "apiserver")
    reply = await until_answered(submit(client, namespace, run("d", name="second")))
    assert names(plane, namespace) in (["first"], ["second"])
    if names(plane, namespace) == ["first"]:
        assert (reply.status, body(reply)["details"]["name"]) == (409, "first")


async def test_of_two_creates_of_one_name_a_third_name_is_told(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """Whichever of the two was stored, the next name is a duplicate of it."""
    twins = [submit(client, namespace, run("d", name="same"))] * 2
    assert sorted(reply.status for reply in await side_by_side(2, twins)) == [201, 409]
    reply = await submit(client, namespace, run("d", name="third"))()
    (stored,) = runs(plane, namespace)
    assert (reply.status, body(reply)["details"]["uid"]) == (409, stored["metadata"]["uid"])
    assert installation.replicas


async def test_mixed_names_and_prefixes_make_one_run(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """Sixty creates at once by three prefixes and by names, through two servers: one run; all others learn of it."""
    manifests = [
        run("d", prefix=f"p{number % 3}-") if number % 2 else run("d", name=f"n-{number}") for number in range(60)
    ]
    jobs = [partial(until_answered, submit(client, namespace, manifest)) for manifest in manifests]
    replies = await side_by_side(60, jobs)
    assert sorted({reply.status for reply in replies}) == [201, 409]
    assert len(names(plane, namespace)) == sum(reply.status == 201 for reply in replies) == 1
    assert all(replica.metric("rollonce_dedupe_decisions_total") for replica in installation.replicas)


@pytest.mark.parametrize("first", [{"name": "tried"}, {"prefix": "tried-"}])
async def test_a_later_refusal_blocks_nobody(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, first: dict[str, Any]
) -> None:
    """Refused by another webhook after our yes: the same create goes through at once, another name after proof."""
    refuser: Object = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "zz-refuser"},
        "webhooks": [
            {
                "name": "refuser.example.com",
                # Nobody is there: with the policy Fail that is a no.
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "rules": [
                    {
                        "apiGroups": ["orchestration.proompteng.ai"],
                        "apiVersions": ["v1alpha1"],
                        "operations": ["CREATE"],
                        "resources": ["orchestrationruns"],
                    }
                ],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    plane.apply(refuser)
    try:

        async def refused(delivery_id: str) -> bool:
            reply = await submit(client, namespace, run(delivery_id, **first))()
            return reply.status == 500 and "refuser" in body(reply)["message"]

        # The API server acts on a new configuration a little later.
        probe = 0
        while not await refused(f"probe-{probe}"):
            probe += 1
            await asyncio.sleep(0.1)
        before = installation.metric("rollonce_dedupe_decisions_total", outcome="allow")
        assert await refused("same")
        assert await refused("other")
        assert installation.metric("rollonce_dedupe_decisions_total", outcome="allow") == before + 2
    finally:
        plane.kubectl("delete", "validatingwebhookconfiguration", "zz-refuser")
    same = submit(client, namespace, run("same", **first))
    reply = await same()
    while reply.status == 500:  # the refuser, until the API server has noticed that it is gone
        reply = await same()
    assert reply.status == 201
    early = await submit(client, namespace, run("other", name="another"))()
    assert (early.status, body(early)["reason"]) == (429, "TooManyRequests")
    assert (await until_answered(submit(client, namespace, run("other", name="another")))).status == 201


async def test_a_quota_that_is_raised_blocks_no_generated_name(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """Refused by a quota after our yes, a create with generateName goes through as soon as the quota is raised."""
    quota: Object = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {f"count/{RUNS}": "0"}},
    }
    plane.apply(quota, namespace=namespace)
    plane.wait_for(
        lambda: plane.get("resourcequota", "none", namespace).get("status", {}).get("hard"), what="the quota to count"
    )
    create = submit(client, namespace, run("d", prefix="build-"))
    before = installation.metric("rollonce_dedupe_decisions_total", outcome="allow")
    assert (await create()).status == 403
    plane.kubectl("delete", "resourcequota", "none", "-n", namespace)
    assert (await create()).status == 201
    assert installation.metric("rollonce_dedupe_decisions_total", outcome="allow") == before + 2


async def test_a_namespace_that_comes_again_keeps_its_deliveries(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """A delivery that became a run became one, also where the whole namespace was deleted and made anew."""
    # Namespaces of other tests may be going at the same time; so this is a bound from below.
    before = installation.metric("rollonce_dedupe_confirmations_total", by="delete")
    assert (await submit(client, namespace, run("d", name="first"))()).status == 201
    plane.kubectl("delete", "namespace", namespace, "--timeout=60s")
    plane.kubectl("create", "namespace", namespace)
    reply = await submit(client, namespace, run("d", name="first"))()
    assert reply.status == 409
    assert "deleted since" in body(reply)["message"]
    assert installation.metric("rollonce_dedupe_confirmations_total", by="delete") > before


async def test_a_run_that_the_controller_never_saw_is_known(
    plane: ControlPlane, namespace: str, installation: Installation, store: Valkey, client: RawClient
) -> None:
    """The controller confirms what it sees; what came and went while it was dead is known all the same."""
    controller = installation._program(
        "controller",
        9,
        plane.kubeconfig,
        (f"--redis-url={store.url}", f"--namespace={namespace}", *installation._issue(9)),
        {},
    )
    try:
        controller.process.wait_ready()
        assert (await submit(client, namespace, run("seen", name="seen"))()).status == 201
        plane.wait_for(
            lambda: controller.metric("rollonce_dedupe_confirmations_total", by="watch") >= 1,
            what="the controller to confirm",
        )
    finally:
        controller.process.kill()
    assert (await submit(client, namespace, run("d", name="first"))()).status == 201
    plane.kubectl("delete", RUNS, "first", "-n", namespace)
    for name in ("first", "second"):
        reply = await submit(client, namespace, run("d", name=name))()
        assert (reply.status, body(reply)["details"]["name"]) == (409, "first")


async def test_a_run_without_a_spec_is_not_our_business(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """What has no spec has no deliveryId."""
    before = installation.metric("rollonce_dedupe_decisions_total")
    bare = {key: value for key, value in run(None).items() if key != "spec"}
    for _ in range(2):
        assert (await submit(client, namespace, bare)()).status == 201
    assert len(names(plane, namespace)) == 2
    assert installation.metric("rollonce_dedupe_decisions_total") == before


async def test_twenty_creates_without_redis_make_one_run_that_is_known_afterwards(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, store: Valkey
) -> None:
    """Redis down: one of twenty is stored, and when Redis is back, another name is told of it."""
    store.kill()
    replies = await side_by_side(20, [submit(client, namespace, run("d", prefix="build-"))] * 20)
    assert sorted(reply.status for reply in replies) == [201] + [409] * 19
    assert installation.metric("rollonce_dedupe_degraded_total") >= 1
    assert installation.metric("rollonce_dedupe_store_down") >= 1
    store.restart()
    (name,) = names(plane, namespace)
    reply = await until_answered(submit(client, namespace, run("d", name="by-hand")))
    assert (reply.status, body(reply)["details"]["name"]) == (409, name)
