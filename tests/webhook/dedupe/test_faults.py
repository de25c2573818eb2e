"""Redis that is down, frozen or emptied: the answers to clients, and the rebuild."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
import structlog

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon, status_of, until
from tests.webhook.dedupe.world import make_run
from webhook.admission.response import StatusDetails
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.settings import DedupeSettings, OnRedisDown
from webhook.dedupe.store_health import UnsafeStoreError

#: So short that no create of the time before a loss can still be stored.
NO_LEASE = DedupeSettings(lease=timedelta(microseconds=1))
GENERATED = generated_name("nightly-", "nightly", "d-1")


@pytest.mark.parametrize(
    ("policy", "name", "allowed"),
    [
        (OnRedisDown.GENERATED, GENERATED, True),
        (OnRedisDown.GENERATED, "by-hand", False),
        (OnRedisDown.DENY, GENERATED, False),
        (OnRedisDown.ALLOW, "by-hand", True),
    ],
)
async def test_the_policy_decides_while_redis_is_down(
    valkey: Valkey, replica: Replica, policy: OnRedisDown, name: str, *, allowed: bool
) -> None:
    """Without Redis a create is allowed or refused for now, as the policy says."""
    lenient = await replica.changed(DedupeSettings(on_redis_down=policy))
    valkey.kill()
    decision = await lenient.create(fresh(name))
    assert decision.allowed is allowed
    if not allowed:
        status = status_of(decision)
        assert isinstance(status.details, StatusDetails)
        assert status.code == 503
        assert status.details.retry_after_seconds


async def test_with_redis_down_twenty_creates_make_one_run(valkey: Valkey, replica: Replica) -> None:
    """Without Redis the generated name makes storage refuse all creates of a delivery but one."""
    valkey.kill()
    decisions = await asyncio.gather(*(replica.create(fresh(GENERATED)) for _ in range(20)))
    assert any(decision.allowed for decision in decisions)
    assert len(replica.storage.runs) == 1
    assert status_of(await replica.create(fresh(GENERATED))).code == 409


async def test_what_was_admitted_without_redis_is_copied_before_a_missing_record_proves_anything(
    valkey: Valkey, replica: Replica
) -> None:
    """When Redis is back, the first create reads the API server, and after the rebuild the record exists."""
    replica = await replica.changed(NO_LEASE)
    valkey.kill()
    assert (await replica.create(fresh(GENERATED))).allowed
    valkey.restart()
    assert status_of(await replica.create(fresh("by-hand"))).code == 409
    address = key_of(fresh()).address
    await replica.client.command("DEL", address.key, deadline=soon())
    await until(replica.rebuilder.rebuild)
    _, record = await replica.store.get(address, soon())
    assert record is not None
    assert record.name == GENERATED


async def test_an_emptied_store_proves_nothing(replica: Replica) -> None:
    """After FLUSHALL a stored run is still found, and a new name of its own must wait until the lease is over."""
    await replica.create(fresh("nightly-1"))
    await replica.client.command("FLUSHALL", deadline=soon())
    assert status_of(await replica.create(fresh("nightly-2"))).code == 409
    other = fresh("weekly-1", delivery_id="d-2")

    async def is_told_to_come_back_later() -> bool:
        status = status_of(await replica.create(other))
        assert isinstance(status.details, StatusDetails)
        assert status.code == 503
        # At first the doubt may still turn out to be none, as after a restart.
        assert status.details.retry_after_seconds in {5, 45}
        return status.details.retry_after_seconds == 45

    await until(is_told_to_come_back_later)
    patient = await replica.changed(NO_LEASE)
    assert (await patient.create(other)).allowed


async def test_a_store_that_cannot_be_rebuilt_stays_unsynced(replica: Replica) -> None:
    """While the API server does not answer, no bucket is marked as synced."""
    replica = await replica.changed(NO_LEASE)
    await replica.client.command("FLUSHALL", deadline=soon())
    replica.storage.down = True
    task = asyncio.create_task(replica.rebuilder.run())

    async def failed() -> bool:
        return bool(replica.metrics.rebuilds.labels("failed")._value.get())

    await until(failed)
    marks, _ = await replica.buckets.marks(soon())
    assert not any(mark.synced for mark in marks.values())
    replica.storage.down = False

    async def synced() -> bool:
        found, _ = await replica.buckets.marks(soon())
        return all(mark.synced for mark in found.values())

    await until(synced)
    task.cancel()


async def test_a_frozen_redis_is_answered_within_the_deadline_and_recovers(valkey: Valkey, replica: Replica) -> None:
    """A frozen Redis does not delay an answer beyond the deadline; thawed, it is used again at once."""
    valkey.freeze()
    async with asyncio.timeout(10):  # the timeout of the API server
        creates = (replica.validate(fresh(f"by-hand-{number}"), seconds=10) for number in range(100))
        decisions = await asyncio.gather(*creates)
    assert {status_of(decision).code for decision in decisions} == {503}
    valkey.thaw()

    async def usable() -> bool:
        return (await replica.create(fresh("by-hand"))).allowed or "by-hand" in replica.storage.runs

    await until(usable)


async def test_a_forgotten_run_does_not_come_back(replica: Replica) -> None:
    """After a forget the next create is the first again, and neither the watch nor a read confirms the old run."""
    old = fresh("nightly-1")
    await replica.create(old)
    await replica.confirmer.confirm(old, soon(), by="watch")
    assert not await replica.confirmer.forget(key_of(old).address, str(uuid.uuid4()), soon())
    assert await replica.confirmer.forget(key_of(old).address, old.uid, soon())
    await replica.confirmer.confirm(old, soon(), by="watch")
    new = fresh("nightly-2")
    assert (await replica.create(new)).allowed
    await replica.confirmer.confirm(old, soon(), by="watch")
    assert (await replica.create(fresh("nightly-3"))).audit_annotations["run"] == "nightly-2"


async def test_an_unsafe_store_is_logged_and_refused_under_strict(replica: Replica) -> None:
    """Missing persistence and an evicting policy are logged, once each; under strict the store is not used."""
    lenient = replica.deduplication.health
    strict = Replica(replica.client, replica.storage, DedupeSettings(strict=True)).deduplication.health
    assert await lenient.check(soon()) == ()
    await strict.require_usable(soon())
    for name, value in ((b"appendonly", b"no"), (b"maxmemory-policy", b"allkeys-lru")):
        await replica.client.command("CONFIG", b"SET", name, value, deadline=soon())
    with structlog.testing.capture_logs() as lines:
        found = await lenient.check(soon())
        assert await lenient.check(soon()) == found
    assert [word in " ".join(found) for word in ("appendonly yes", "allkeys-lru")] == [True, True]
    assert [line["finding"] for line in lines] == list(found)
    assert replica.metrics.findings._value.get() == 2
    await lenient.require_usable(soon())
    with pytest.raises(UnsafeStoreError, match="appendonly yes"):
        await strict.require_usable(soon())


async def test_a_full_redis_is_handled_like_one_that_is_down(replica: Replica) -> None:
    """When Valkey refuses to write because its memory is full, the policy for a missing Redis applies."""
    await replica.client.command("CONFIG", b"SET", b"maxmemory", b"1mb", deadline=soon())
    await replica.client.command("CONFIG", b"SET", b"maxmemory-policy", b"noeviction", deadline=soon())
    assert status_of(await replica.create(fresh("by-hand"))).code == 503
    assert (await replica.create(fresh(GENERATED))).allowed


async def test_a_rebuild_reads_all_deliveries(replica: Replica) -> None:
    """After an emptied store and a rebuild, every stored run of a delivery has its record, and only those."""
    replica = await replica.changed(NO_LEASE)
    runs: list[OrchestrationRun] = [fresh(f"run-{number}", delivery_id=f"d-{number}") for number in range(200)]
    for run in (*runs, fresh("plain", delivery_id=None), make_run("old", uid=str(uuid.uuid4()), created=1e6)):
        replica.storage.store(run)
    await replica.client.command("FLUSHALL", deadline=soon())
    await until(replica.rebuilder.rebuild)
    found = [digest async for digests in replica.buckets.digests(soon) for digest in digests]
    assert sorted(found) == sorted(key_of(run).address.digest for run in runs)
