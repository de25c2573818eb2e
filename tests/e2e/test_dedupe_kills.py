"""Servers that are killed, and connections to Redis that are cut: each delivery gets exactly one run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests import ledger
from tests.balancer import Balancer
from tests.controlplane import ControlPlane
from tests.e2e.objects import Object, run, runs
from tests.e2e.raw import RawClient, body, concurrently, raw_client
from tests.e2e.submitting import (
    SETTINGS,
    lossy_proxy,
    run_names,
    short_timeout_plane,
    submit,
    until_answered,
    wait_until_synced,
)
from tests.rollonce import Installation
from tests.topologies import sentinels
from tests.valkey import Valkey
from webhook.kube.api import Reply

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane whose components the tests freeze and kill."""
    with short_timeout_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[RawClient]:
    """Open a client that submits and does not repeat creates."""
    async with raw_client(plane.kubeconfig) as made:
        yield made


async def test_one_of_two_servers_cannot_reach_redis(
    plane: ControlPlane, namespace: str, valkey: Valkey, tmp_path: Path, client: RawClient
) -> None:
    """Twenty creates with a generated name make one run, and so do twenty creates with different names.

    The server without Redis refuses for now what it cannot know, and leaves the Service until it reaches Redis again.
    """
    assert valkey.port is not None
    proxy = Balancer((valkey.port,))
    with Installation.start(plane, tmp_path / "servers", redis_url=valkey.url, settings=SETTINGS) as running:
        disconnected = running._program(
            "serve",
            1,
            plane.kubeconfig,
            (f"--redis-url=redis://127.0.0.1:{proxy.port}", *running._issue(1), *SETTINGS),
            {},
        )
        running.replicas.append(disconnected)
        disconnected.process.wait_ready()
        running.balancer.ports = tuple(replica.port for replica in running.replicas)
        wait_until_synced(plane, running)
        proxy.ports = ()
        proxy.cut()
        generate = partial(until_answered, submit(client, namespace, run("g", prefix="build-")))
        generated_names = await concurrently(20, [generate] * 20)
        assert sorted(reply.status for reply in generated_names) == [201] + [409] * 19
        jobs = [
            partial(until_answered, submit(client, namespace, run("h", name=f"chosen-{number}")))
            for number in range(20)
        ]
        chosen_names = await concurrently(20, jobs)
        assert sorted(reply.status for reply in chosen_names) == [201] + [409] * 19
        assert len(run_names(plane, namespace)) == 2
        assert disconnected.metric("rollonce_dedupe_store_errors_total")
        await asyncio.to_thread(
            plane.wait_for, lambda: disconnected.health("/readyz")[0] == 503, what="the server to leave the Service"
        )
        assert disconnected.health("/readyz")[1].startswith("Redis: other replicas can reach it")
        running.balancer.ports = (disconnected.port,)
        running.balancer.cut()
        refused = await submit(client, namespace, run("i", prefix="build-"))()
        assert (refused.status, body(refused)["reason"]) == (503, "ServiceUnavailable")
        assert "Another replica can reach Redis" in body(refused)["message"]
        assert running.metric("rollonce_dedupe_degraded_total") == 0
        proxy.ports = (valkey.port,)
        await asyncio.to_thread(plane.wait_for, lambda: disconnected.health("/readyz")[0] == 200, what="it to be back")
        proxy.stop()


def test_the_last_server_stays_in_the_service(plane: ControlPlane, valkey: Valkey, tmp_path: Path) -> None:
    """If Redis and the other server die together, the last one stays ready: its answers say when to try again."""
    with Installation.start(
        plane, tmp_path / "servers", redis_url=valkey.url, replicas=2, settings=SETTINGS
    ) as running:
        wait_until_synced(plane, running)
        last, other = running.replicas
        other.process.kill()
        valkey.kill()
        plane.wait_for(
            lambda: any(known.get("down") for known in ledger.entry(plane)["servers"].values()),
            what="the outage to be noticed",
        )
        until = time.monotonic() + 7
        while time.monotonic() < until:
            assert last.health("/readyz")[0] == 200


@pytest.mark.parametrize("reserved", [False, True], ids=["before the reservation", "after the reservation"])
async def test_a_server_killed_during_a_create_blocks_no_retry(
    *, plane: ControlPlane, namespace: str, valkey: Valkey, tmp_path: Path, client: RawClient, reserved: bool
) -> None:
    """If the server is killed before or after the reservation, a repeated create succeeds at once and only once."""
    assert valkey.port is not None
    async with lossy_proxy(valkey.port) as proxy:
        start = partial(Installation.start, plane, tmp_path / "servers", redis_url=proxy.url, settings=SETTINGS)
        running = await asyncio.to_thread(start)
        try:
            await asyncio.to_thread(wait_until_synced, plane, running)
            # The store has cached the script now, so the next reply is that of the reservation.
            assert (await submit(client, namespace, run("known", name="known"))()).status == 201
            process = running.replicas[0].process
            proxy.dropping = reserved
            if not reserved:
                process.freeze()
            created = asyncio.create_task(submit(client, namespace, run("d", name="first"))())
            if reserved:
                await asyncio.wait_for(proxy.dropped.wait(), 20)
            await asyncio.to_thread(process.kill)
            assert (await created).status >= 500
            proxy.dropping = False
            await asyncio.to_thread(process.restart)
            assert (await until_answered(submit(client, namespace, run("d", name="first")))).status == 201
            assert (await submit(client, namespace, run("d", name="second"))()).status == 409
        finally:
            await asyncio.to_thread(running.stop)
    assert run_names(plane, namespace) == ["first", "known"]


async def test_a_failover_to_a_stale_replica_makes_no_second_run(
    plane: ControlPlane, namespace: str, tmp_path: Path, client: RawClient
) -> None:
    """If Sentinel promotes a replica that lacks reservations, each delivery still gets exactly one run."""
    answered = 0
    reached = {30: asyncio.Event(), 60: asyncio.Event()}

    async def submit_until_answered(manifest: Object) -> Reply:
        nonlocal answered
        reply = await until_answered(submit(client, namespace, manifest), 60)
        answered += 1
        if answered in reached:
            reached[answered].set()
        return reply

    deliveries = range(60)
    with (
        sentinels(tmp_path / "redis") as servers,
        Installation.start(
            plane, tmp_path / "servers", redis_url=servers.url, replicas=2, settings=SETTINGS
        ) as running,
    ):
        wait_until_synced(plane, running)
        manifests = [
            run(f"d-{number}", name=f"d-{number}-{attempt}") if number % 2 else run(f"d-{number}", prefix="build-")
            for number in deliveries
            for attempt in range(3)
        ]
        load = asyncio.create_task(
            concurrently(6, [partial(submit_until_answered, manifest) for manifest in manifests])
        )
        await reached[30].wait()
        servers.replica.freeze()
        await reached[60].wait()
        servers.primary.kill()
        servers.replica.thaw()
        replies = await load
        assert running.metric("rollonce_dedupe_store_errors_total")
    stored = [found["spec"]["deliveryId"] for found in runs(plane, namespace)]
    assert sorted(stored) == sorted(f"d-{number}" for number in deliveries)
    assert sum(reply.status == 201 for reply in replies) == len(deliveries)
