"""Components that fail during a create: one run is stored in the end, and no delivery is blocked forever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.objects import RUNS, Object, run, runs
from tests.e2e.raw import RawClient, body, concurrently, raw_client
from tests.e2e.submitting import SETTINGS, run_names, short_timeout_plane, submit, until_answered, wait_until_synced
from tests.rollonce import Installation
from tests.valkey import Valkey
from webhook.dedupe.core.ledger import NOTICE_SECONDS
from webhook.errors import KubernetesError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane whose components the tests freeze and kill."""
    with short_timeout_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Start the store of the servers that most tests share."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def shared(plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Start two servers with one store."""
    with Installation.start(
        plane, tmp_path_factory.mktemp("servers"), redis_url=store.url, replicas=2, settings=SETTINGS, register=False
    ) as running:
        yield running


@pytest.fixture
def installation(plane: ControlPlane, shared: Installation) -> Installation:
    """Register the shared servers, since another test may have registered its own, and wait until they are synced."""
    shared.register()
    wait_until_synced(plane, shared)
    return shared


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[RawClient]:
    """Open a client that submits and does not repeat creates."""
    async with raw_client(plane.kubeconfig) as made:
        yield made


async def test_a_run_stored_by_a_killed_api_server_is_found(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """If the API server is killed after the webhook allowed a create, a retry finds the run if it was stored."""
    before = installation.metric("rollonce_dedupe_decisions_total", outcome="allow")
    plane.freeze("etcd")
    created = asyncio.create_task(submit(client, namespace, run("d", name="first"))())
    try:
        await asyncio.to_thread(
            plane.wait_for,
            lambda: installation.metric("rollonce_dedupe_decisions_total", outcome="allow") == before + 1,
            what="the webhook to allow it",
        )
        plane.kill("apiserver")
    finally:
        plane.thaw("etcd")
    with pytest.raises(KubernetesError):
        await created
    await asyncio.to_thread(plane.restart, "apiserver")
    reply = await until_answered(submit(client, namespace, run("d", name="second")))
    assert run_names(plane, namespace) in (["first"], ["second"])
    if run_names(plane, namespace) == ["first"]:
        assert (reply.status, body(reply)["details"]["name"]) == (409, "first")


async def test_after_two_creates_of_one_name_another_name_is_a_duplicate(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """Of two concurrent creates with one name one is stored, and another name gets 409 with the uid of that run."""
    same_creates = [submit(client, namespace, run("d", name="same"))] * 2
    assert sorted(reply.status for reply in await concurrently(2, same_creates)) == [201, 409]
    reply = await submit(client, namespace, run("d", name="third"))()
    (stored,) = runs(plane, namespace)
    assert (reply.status, body(reply)["details"]["uid"]) == (409, stored["metadata"]["uid"])
    assert installation.replicas


async def test_mixed_names_and_prefixes_make_one_run(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """Of sixty concurrent creates with names and prefixes through two servers one is stored, and all others get 409."""
    manifests = [
        run("d", prefix=f"p{number % 3}-") if number % 2 else run("d", name=f"n-{number}") for number in range(60)
    ]
    jobs = [partial(until_answered, submit(client, namespace, manifest)) for manifest in manifests]
    replies = await concurrently(60, jobs)
    assert sorted({reply.status for reply in replies}) == [201, 409]
    assert len(run_names(plane, namespace)) == sum(reply.status == 201 for reply in replies) == 1
    assert all(replica.metric("rollonce_dedupe_decisions_total") for replica in installation.replicas)


@pytest.mark.parametrize("first", [{"name": "tried"}, {"prefix": "tried-"}])
async def test_a_refusal_by_another_webhook_blocks_no_create(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, first: dict[str, Any]
) -> None:
    """After another webhook refused a create, the same create is allowed at once, and another name a little later."""
    refuser: Object = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "zz-refuser"},
        "webhooks": [
            {
                "name": "refuser.example.com",
                # No server listens there: with the policy Fail the create is refused.
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

        # The API server uses a new configuration with a delay.
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
    while reply.status == 500:  # by the refusing webhook, until the API server uses the new configuration
        reply = await same()
    assert reply.status == 201
    early = await submit(client, namespace, run("other", name="another"))()
    assert (early.status, body(early)["reason"]) == (429, "TooManyRequests")
    assert (await until_answered(submit(client, namespace, run("other", name="another")))).status == 201


async def test_a_refusal_by_a_quota_blocks_no_generated_name(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """After a quota refused a create with generateName, the create succeeds as soon as the quota is removed."""
    quota: Object = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {f"count/{RUNS}": "0"}},
    }
    plane.apply(quota, namespace=namespace)
    plane.wait_for(
        lambda: plane.get("resourcequota", "none", namespace).get("status", {}).get("hard"), what="the quota to apply"
    )
    create = submit(client, namespace, run("d", prefix="build-"))
    before = installation.metric("rollonce_dedupe_decisions_total", outcome="allow")
    assert (await create()).status == 403
    plane.kubectl("delete", "resourcequota", "none", "-n", namespace)
    assert (await create()).status == 201
    assert installation.metric("rollonce_dedupe_decisions_total", outcome="allow") == before + 2


async def test_a_recreated_namespace_keeps_its_deliveries(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """A delivery that has had a run is a duplicate, also after its namespace was deleted and created again."""
    # Namespaces of other tests may be deleted at the same time, so only a lower bound is checked. The deletion confirms
    # the record, unless a server has read the run before: that happens about a second after it was allowed.
    before = installation.metric("rollonce_dedupe_confirmations_total")
    assert (await submit(client, namespace, run("d", name="first"))()).status == 201
    plane.kubectl("delete", "namespace", namespace, "--timeout=60s")
    plane.kubectl("create", "namespace", namespace)
    reply = await submit(client, namespace, run("d", name="first"))()
    assert reply.status == 409
    assert "deleted since" in body(reply)["message"]
    assert installation.metric("rollonce_dedupe_confirmations_total") > before


async def test_a_run_that_the_controller_did_not_see_is_known(
    plane: ControlPlane, namespace: str, installation: Installation, store: Valkey, client: RawClient
) -> None:
    """The controller confirms runs that it watches; a run created and deleted without a controller is known too."""
    controller = installation._program(
        "controller",
        9,
        plane.kubeconfig,
        (f"--redis-url={store.url}", f"--rollout-checksums-watch-namespaces={namespace}", *installation._issue(9)),
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


async def test_a_run_without_a_spec_is_ignored(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient
) -> None:
    """Runs without a spec have no deliveryId: all of them are stored, and no decision is made."""
    before = installation.metric("rollonce_dedupe_decisions_total")
    bare = {key: value for key, value in run(None).items() if key != "spec"}
    for _ in range(2):
        assert (await submit(client, namespace, bare)()).status == 201
    assert len(run_names(plane, namespace)) == 2
    assert installation.metric("rollonce_dedupe_decisions_total") == before


async def test_twenty_creates_without_redis_make_one_run_that_is_known_afterwards(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, store: Valkey
) -> None:
    """Of twenty creates while Redis is down one is stored, and afterwards another name is a duplicate of it.

    None is stored before all servers can know that this happens; until then the client is told when to try again.
    """
    store.kill()
    create = submit(client, namespace, run("d", prefix="build-"))
    early = await create()
    assert (early.status, body(early)["reason"]) == (503, "ServiceUnavailable")
    assert body(early)["details"]["retryAfterSeconds"] <= NOTICE_SECONDS + 2
    assert run_names(plane, namespace) == []
    replies = await concurrently(20, [partial(until_answered, create)] * 20)
    assert sorted(reply.status for reply in replies) == [201] + [409] * 19
    assert installation.metric("rollonce_dedupe_degraded_total") >= 1
    assert installation.metric("rollonce_dedupe_store_down") >= 1
    store.restart()
    (name,) = run_names(plane, namespace)
    reply = await until_answered(submit(client, namespace, run("d", name="by-hand")))
    assert (reply.status, body(reply)["details"]["name"]) == (409, name)
