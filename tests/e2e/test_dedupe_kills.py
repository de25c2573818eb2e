"""Servers that are killed, and ways to Redis that are cut: each delivery gets its one run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.balancer import Balancer
from tests.controlplane import ControlPlane
from tests.e2e.objects import Object, run, runs
from tests.e2e.raw import RawClient, raw_client, side_by_side
from tests.e2e.submitting import SETTINGS, names, submit, tight_plane, until_answered, until_whole, way_to
from tests.rollonce import Installation
from tests.topologies import sentinels
from tests.valkey import Valkey
from webhook.clients.api import Reply

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose parts are frozen and killed."""
    with tight_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[RawClient]:
    """A program that submits, and repeats nothing."""
    async with raw_client(plane.kubeconfig) as made:
        yield made


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
