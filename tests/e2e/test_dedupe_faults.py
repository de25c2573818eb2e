"""Parts that die while a delivery is on its way: one run is stored in the end, and nobody is blocked for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.balancer import Balancer
from tests.controlplane import ControlPlane, Options
from tests.e2e.objects import RUNS, Object, run, runs
from tests.e2e.raw import RUNS_PATH, RawClient, body, raw_client, side_by_side
from tests.rollonce import Installation
from tests.topologies import sentinels
from tests.valkey import Valkey
from webhook.clients.api import Reply
from webhook.errors import KubernetesError

pytestmark = pytest.mark.cluster

Send: TypeAlias = Callable[[], Coroutine[Any, Any, Reply]]

#: A create lives no longer than this in the API server, and so the lease may be shorter than usual.
REQUEST_TIMEOUT = "8s"
LEASE = "10s"
SETTINGS = (f"--dedupe-lease={LEASE}",)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose parts are frozen and killed."""
    options = Options(apiserver_args=(f"--request-timeout={REQUEST_TIMEOUT}",))
    with ControlPlane.start(tmp_path_factory.mktemp("plane"), options=options) as running:
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


def until_whole(plane: ControlPlane, installation: Installation) -> None:
    """Wait until the servers believe their store."""
    plane.wait_for(
        lambda: all(
            replica.health("/readyz")[0] == 200 and replica.metric("rollonce_dedupe_doubted_buckets") == 0
            for replica in installation.replicas
        ),
        what="the store to be whole",
    )


def submit(client: RawClient, namespace: str, manifest: Object) -> Send:
    """A create that can be sent."""
    return partial(client.create, RUNS_PATH.format(namespace), manifest)


async def until_answered(send: Send, seconds: float = 40.0) -> Reply:
    """Submit again and again, as a patient client does, until the delivery has its run: 201 or 409."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            reply = await send()
        except KubernetesError:
            assert time.monotonic() < deadline
        else:
            if reply.status in {201, 409}:
                return reply
            assert time.monotonic() < deadline, reply.body
        await asyncio.sleep(0.1)


def names(plane: ControlPlane, namespace: str) -> list[str]:
    """The runs that are stored."""
    return [found["metadata"]["name"] for found in runs(plane, namespace)]


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
    before = installation.metric("rollonce_dedupe_confirmations_total", by="delete")
    assert (await submit(client, namespace, run("d", name="first"))()).status == 201
    plane.kubectl("delete", "namespace", namespace, "--timeout=60s")
    plane.kubectl("create", "namespace", namespace)
    reply = await submit(client, namespace, run("d", name="first"))()
    assert reply.status == 409
    assert "deleted since" in body(reply)["message"]
    assert installation.metric("rollonce_dedupe_confirmations_total", by="delete") == before + 1


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


async def test_redis_reached_by_one_of_two_servers(
    plane: ControlPlane, namespace: str, valkey: Valkey, tmp_path: Path, client: RawClient
) -> None:
    """One server has lost its way to Redis: still one run each for twenty generated names and for twenty by hand."""
    assert valkey.port is not None
    way = Balancer((valkey.port,))
    with Installation.start(plane, tmp_path / "servers", redis_url=valkey.url, settings=SETTINGS) as running:
        cut_off = running._program(
            "serve",
            1,
            plane.kubeconfig,
            (f"--redis-url=redis://127.0.0.1:{way.port}", *running._issue(1), *SETTINGS),
            {},
        )
        running.replicas.append(cut_off)
        cut_off.process.wait_ready()
        running.balancer.ports = tuple(replica.port for replica in running.replicas)
        until_whole(plane, running)
        way.stop()
        generated = await side_by_side(20, [submit(client, namespace, run("g", prefix="build-"))] * 20)
        assert sorted(reply.status for reply in generated) == [201] + [409] * 19
        jobs = [
            partial(until_answered, submit(client, namespace, run("h", name=f"by-hand-{number}")))
            for number in range(20)
        ]
        by_hand = await side_by_side(20, jobs)
        assert sorted(reply.status for reply in by_hand) == [201] + [409] * 19
        assert len(names(plane, namespace)) == 2
        assert cut_off.metric("rollonce_dedupe_store_errors_total")


@dataclass
class Way:
    """A way to Redis that can swallow what comes back.

    Attributes:
        url: For the server.
        swallowing: Whether answers vanish.
        swallowed: Set once a reservation was made whose answer has vanished.
    """

    url: str
    swallowing: bool = False
    swallowed: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    """Open such a way to a port of loopback."""
    way = Way("")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        while data := await reader.read(65536):
            if back and way.swallowing:
                if b"made" in data:
                    way.swallowed.set()
                continue
            writer.write(data)
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", port)
        pumps = (pump(reader, out, back=False), pump(there, writer, back=True))
        await asyncio.gather(*pumps, return_exceptions=True)

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    way.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()


@pytest.mark.parametrize("reserved", [False, True], ids=["before the reservation", "after the reservation"])
async def test_a_server_killed_on_the_way_blocks_nobody(
    *, plane: ControlPlane, namespace: str, valkey: Valkey, tmp_path: Path, client: RawClient, reserved: bool
) -> None:
    """Killed before or after the reservation: the create failed; repeated, it goes through at once, and only once."""
    assert valkey.port is not None
    async with way_to(valkey.port) as way:
        start = partial(Installation.start, plane, tmp_path / "servers", redis_url=way.url, settings=SETTINGS)
        running = await asyncio.to_thread(start)
        try:
            await asyncio.to_thread(until_whole, plane, running)
            # From here on the store knows the script, so that the next answer is that of the reservation.
            assert (await submit(client, namespace, run("known", name="known"))()).status == 201
            process = running.replicas[0].process
            way.swallowing = reserved
            if not reserved:
                process.freeze()
            created = asyncio.create_task(submit(client, namespace, run("d", name="first"))())
            if reserved:
                await asyncio.wait_for(way.swallowed.wait(), 20)
            await asyncio.to_thread(process.kill)
            assert (await created).status >= 500
            way.swallowing = False
            await asyncio.to_thread(process.restart)
            assert (await until_answered(submit(client, namespace, run("d", name="first")))).status == 201
            assert (await submit(client, namespace, run("d", name="second"))()).status == 409
        finally:
            await asyncio.to_thread(running.stop)
    assert names(plane, namespace) == ["first", "known"]


async def test_sentinel_fails_over_under_load_to_a_replica_that_was_behind(
    plane: ControlPlane, namespace: str, tmp_path: Path, client: RawClient
) -> None:
    """The reservations that the new primary never saw make no second run, and each delivery gets its one."""
    answered = 0
    marks = {30: asyncio.Event(), 60: asyncio.Event()}

    async def patiently(manifest: Object) -> Reply:
        nonlocal answered
        reply = await until_answered(submit(client, namespace, manifest), 60)
        answered += 1
        if answered in marks:
            marks[answered].set()
        return reply

    deliveries = range(60)
    with (
        sentinels(tmp_path / "redis") as servers,
        Installation.start(
            plane, tmp_path / "servers", redis_url=servers.url, replicas=2, settings=SETTINGS
        ) as running,
    ):
        until_whole(plane, running)
        manifests = [
            run(f"d-{number}", name=f"d-{number}-{turn}") if number % 2 else run(f"d-{number}", prefix="build-")
            for number in deliveries
            for turn in range(3)
        ]
        load = asyncio.create_task(side_by_side(6, [partial(patiently, manifest) for manifest in manifests]))
        await marks[30].wait()
        servers.replica.freeze()
        await marks[60].wait()
        servers.primary.kill()
        servers.replica.thaw()
        replies = await load
        assert running.metric("rollonce_dedupe_store_errors_total")
    stored = [found["spec"]["deliveryId"] for found in runs(plane, namespace)]
    assert sorted(stored) == sorted(f"d-{number}" for number in deliveries)
    assert sum(reply.status == 201 for reply in replies) == len(deliveries)
