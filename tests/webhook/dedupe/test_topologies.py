"""Stores of several servers: a shard that is lost, and replicas that are too slow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from tests.topologies import cluster, replicated
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon, status_of
from webhook.dedupe.core.identity import BUCKETS, DeliveryKey
from webhook.dedupe.core.reservation import Mark
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.settings import DedupeSettings
from webhook.errors import StoreError
from webhook.store.client import RedisClient
from webhook.store.url import parse_url


def one_in_each_bucket() -> list[OrchestrationRun]:
    """Return a run for each bucket, so that every shard has some."""
    found: dict[int, OrchestrationRun] = {}
    number = 0
    while len(found) < BUCKETS:
        run = fresh(f"run-{number}", delivery_id=f"d-{number}")
        found.setdefault(key_of(run).bucket, run)
        number += 1
    return [found[bucket] for bucket in sorted(found)]


async def test_a_shard_that_lost_its_records_is_noticed(tmp_path: Path) -> None:
    """One of three shards loses its records: its deliveries are read from the API server, the others as before."""
    lines = ("cluster-require-full-coverage no",)
    with cluster(tmp_path, appendonly=None, config=lines) as (url, nodes):
        client = RedisClient(parse_url(url))
        replica = Replica(client, settings=DedupeSettings(lease=timedelta(microseconds=1)))
        await replica.join()
        runs = one_in_each_bucket()
        for run in runs:
            assert (await replica.create(run)).allowed
            await replica.confirmer.confirm(run, soon(), by="watch")
        nodes[0].kill()
        late = [fresh("late", delivery_id=run.delivery_id) for run in runs]
        # What is stored is found without the shard; of deleted runs only the shards that are left have records.
        assert {status_of(answer).code for answer in await asyncio.gather(*map(replica.create, late))} == {409}
        replica.storage.runs.clear()
        codes = [status_of(answer).code for answer in await asyncio.gather(*map(replica.create, late))]
        assert set(codes) == {409, 503}
        assert codes.count(409) >= BUCKETS // 2
        nodes[0].restart()
        deadline = soon(30)
        marks: Mapping[int, Mark] = {}
        while not marks:
            try:
                marks, _ = await replica.buckets.marks(deadline)
            except StoreError:
                deadline.require()
                await asyncio.sleep(0.05)
        lost = {bucket for bucket, mark in marks.items() if not mark.synced}
        assert 0 < len(lost) < BUCKETS
        # The shards that lost nothing, and only they, have the records of runs that no longer exist.
        for bucket, run in enumerate(runs):
            key = DeliveryKey("shop", "nightly", run.delivery_id or "")
            _, record = await replica.store.get(key.address, soon())
            assert (record is None) is (bucket in lost)
        for run in runs:
            replica.storage.store(run)
        for run in runs:
            assert status_of(await replica.create(fresh("late", delivery_id=run.delivery_id))).code == 409
        await client.close()


async def test_too_few_replicas_are_counted_and_refused_under_strict(tmp_path: Path) -> None:
    """A reservation that no replica has acknowledged is allowed and counted; under strict it is 503 until one has."""
    with replicated(tmp_path) as (primary, follower):
        client = RedisClient(parse_url(f"{primary.url}?wait_replicas=1&wait_milliseconds=100"))
        lenient = await Replica(client).join()
        strict = await Replica(client, lenient.storage, DedupeSettings(strict=True)).join()
        assert (await strict.create(fresh("a", delivery_id="a"))).allowed
        assert await lenient.buckets.findings(soon()) == ()
        follower.freeze()
        assert (await lenient.create(fresh("b", delivery_id="b"))).allowed
        assert lenient.metrics.unacknowledged._value.get() == 1
        refused = fresh("c", delivery_id="c")
        status = status_of(await strict.validate(refused))
        assert (status.code, "replicas" in status.message) == (503, True)
        follower.thaw()
        deadline = soon(20)
        # The same create again: the script waits again for what it wrote before.
        while not (await strict.validate(refused)).allowed:
            deadline.require()
        follower.stop()
        while not (found := await lenient.buckets.findings(soon())):
            deadline.require()
            await asyncio.sleep(0.05)
        assert "wait_replicas" in found[0]
        await client.close()
