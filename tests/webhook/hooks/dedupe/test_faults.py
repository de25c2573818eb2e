"""Redis that is down, frozen, emptied, killed or loses an answer: what clients are told, and how it is mended."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from tests.valkey import Valkey
from tests.webhook.hooks.dedupe.conftest import Replica, fresh, soon, status_of
from tests.webhook.hooks.dedupe.world import Storage, make_run
from webhook.admission.response import StatusDetails
from webhook.clients.redis import RedisClient, parse_url
from webhook.hooks.dedupe.core.names import generated_name
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.forget import forget
from webhook.hooks.dedupe.inspect import Inspector, UnsafeStoreError
from webhook.hooks.dedupe.rebuild import Rebuilder
from webhook.hooks.dedupe.settings import DedupeSettings, OnRedisDown

#: So short that each loss is at once longer ago than any create can be on its way.
NO_LEASE = DedupeSettings(lease=timedelta(microseconds=1))
GENERATED = generated_name("nightly-", "nightly", "d-1")


def rebuilder(replica: Replica) -> Rebuilder:
    """What keeps a replica's store whole."""
    return Rebuilder(
        replica.store,
        replica.parts.runs,
        replica.confirmer,
        replica.parts.doubts,
        replica.settings,
        monotonic=time.monotonic,
        sleep=asyncio.sleep,
        log=structlog.get_logger(),
        metrics=replica.metrics,
    )


def inspector(replica: Replica, *, strict: bool = False) -> Inspector:
    """What looks at a replica's store."""
    return Inspector(
        replica.store,
        DedupeSettings(strict=strict),
        monotonic=time.monotonic,
        sleep=asyncio.sleep,
        log=structlog.get_logger(),
        metrics=replica.metrics,
    )


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    deadline = soon(seconds)
    while not await condition():
        deadline.require()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("policy", "name", "allowed"),
    [
        (OnRedisDown.GENERATED, GENERATED, True),
        (OnRedisDown.GENERATED, "by-hand", False),
        (OnRedisDown.DENY, GENERATED, False),
        (OnRedisDown.ALLOW, "by-hand", True),
    ],
)
async def test_the_policy_says_who_goes_on_while_redis_is_down(
    valkey: Valkey, replica: Replica, policy: OnRedisDown, name: str, *, allowed: bool
) -> None:
    """With Redis gone a create goes on or is told to come again, as the policy says."""
    lenient = Replica(replica.client, replica.storage, DedupeSettings(on_redis_down=policy))
    valkey.kill()
    decision = await lenient.create(fresh(name))
    assert decision.allowed is allowed
    if not allowed:
        status = status_of(decision)
        assert isinstance(status.details, StatusDetails)
        assert status.code == 503
        assert status.details.retry_after_seconds


async def test_with_redis_down_twenty_creates_make_one_run(valkey: Valkey, replica: Replica) -> None:
    """The deterministic name keeps concurrent creates of a delivery apart without Redis."""
    valkey.kill()
    decisions = await asyncio.gather(*(replica.create(fresh(GENERATED)) for _ in range(20)))
    assert any(decision.allowed for decision in decisions)
    assert len(replica.storage.runs) == 1
    assert status_of(await replica.create(fresh(GENERATED))).code == 409


async def test_what_was_admitted_without_redis_is_copied_in_before_misses_are_believed(
    valkey: Valkey, replica: Replica
) -> None:
    """When Redis is back, the first create is checked live, and after the rebuild the record is there."""
    replica = Replica(replica.client, replica.storage, NO_LEASE)
    valkey.kill()
    assert (await replica.create(fresh(GENERATED))).allowed
    valkey.restart()
    assert status_of(await replica.create(fresh("by-hand"))).code == 409
    key = fresh().key()
    assert key is not None
    await replica.client.command("DEL", key.record_key, deadline=soon())
    await until(rebuilder(replica).rebuild)
    _, record = await replica.store.get(key, soon())
    assert record is not None
    assert record.name == GENERATED


async def test_the_first_admission_without_redis_is_doubted_by_the_other_replica(
    valkey: Valkey, replica: Replica
) -> None:
    """A replica that had no Redis tells it so, and then a replica that had one all the time checks its misses live."""
    cut_off = RedisClient(parse_url("unix:///nowhere/valkey.sock"))
    lonely = Replica(cut_off, replica.storage, NO_LEASE)
    assert (await lonely.create(fresh(GENERATED))).allowed
    await cut_off.close()
    reached = RedisClient(parse_url(valkey.url))
    lonely.parts.doubts._store = Replica(reached).store
    await lonely.parts.doubts.tell(soon())
    await reached.close()
    assert status_of(await replica.create(fresh("by-hand"))).code == 409


async def test_an_emptied_store_is_not_believed(replica: Replica) -> None:
    """After FLUSHALL a stored run is still found, and a new explicit name has to wait until the lease is over."""
    await replica.create(fresh("nightly-1"))
    await replica.client.command("FLUSHALL", deadline=soon())
    assert status_of(await replica.create(fresh("nightly-2"))).code == 409
    other = fresh("weekly-1", delivery_id="d-2")
    status = status_of(await replica.create(other))
    assert isinstance(status.details, StatusDetails)
    assert (status.code, status.details.retry_after_seconds) == (503, 10)
    patient = Replica(replica.client, replica.storage, NO_LEASE)
    assert (await patient.create(other)).allowed


async def test_a_store_that_cannot_be_rebuilt_stays_in_doubt(replica: Replica) -> None:
    """While the API server does not answer, nothing is declared whole."""
    replica = Replica(replica.client, replica.storage, NO_LEASE)
    await replica.client.command("FLUSHALL", deadline=soon())
    replica.storage.down = True
    healer = rebuilder(replica)
    task = asyncio.create_task(healer.run())

    async def failed() -> bool:
        return bool(replica.metrics.rebuilds.labels("failed")._value.get())

    await until(failed)
    marks, _ = await replica.store.marks(soon())
    assert not any(mark.whole for mark in marks.values())
    replica.storage.down = False

    async def whole() -> bool:
        found, _ = await replica.store.marks(soon())
        return all(mark.whole for mark in found.values())

    await until(whole)
    task.cancel()


async def test_a_first_installation_needs_no_wait(client: RedisClient) -> None:
    """A store without records, while no run of any delivery is stored, is new; with one stored it may be emptied."""
    replica = Replica(client)
    replica.storage.store(fresh("plain", delivery_id=None))
    assert await rebuilder(replica).take_into_use()
    assert (await replica.create(fresh("by-hand"))).allowed
    await client.command("FLUSHALL", deadline=soon())
    assert await rebuilder(replica).take_into_use()
    marks, _ = await replica.store.marks(soon())
    assert not any(mark.whole for mark in marks.values())


async def test_a_frozen_redis_is_answered_within_the_deadline_and_recovers(valkey: Valkey, replica: Replica) -> None:
    """Frozen, Redis costs no more than the deadline; thawed, it is used again at once."""
    valkey.freeze()
    async with asyncio.timeout(10):  # by which the API server would have given up
        creates = (replica.validate(fresh(f"by-hand-{number}"), seconds=10) for number in range(100))
        decisions = await asyncio.gather(*creates)
    assert {status_of(decision).code for decision in decisions} == {503}
    valkey.thaw()

    async def usable() -> bool:
        return (await replica.create(fresh("by-hand"))).allowed or "by-hand" in replica.storage.runs

    await until(usable)


async def test_a_forgotten_run_does_not_come_back(replica: Replica) -> None:
    """After a forget the next create is the first again, and neither the watch nor a look brings the old run back."""
    old = fresh("nightly-1")
    await replica.create(old)
    await replica.confirmer.confirm(old, soon(), by="watch")
    key = old.key()
    assert key is not None
    assert not await forget(replica.store, key, str(uuid.uuid4()), soon(), retention=replica.settings.retention)
    assert await forget(replica.store, key, old.uid, soon(), retention=replica.settings.retention)
    await replica.confirmer.confirm(old, soon(), by="watch")
    new = fresh("nightly-2")
    assert (await replica.create(new)).allowed
    await replica.confirmer.confirm(old, soon(), by="watch")
    assert (await replica.create(fresh("nightly-3"))).audit_annotations["run"] == "nightly-2"


async def test_an_unsafe_store_is_named_and_refused_under_strict(replica: Replica) -> None:
    """No persistence and an evicting policy are each said plainly, once; under strict the store counts as not ready."""
    lenient, strict = inspector(replica), inspector(replica, strict=True)
    assert await lenient.inspect(soon()) == ()
    await strict.ask(soon())
    for name, value in ((b"appendonly", b"no"), (b"maxmemory-policy", b"allkeys-lru")):
        await replica.client.command("CONFIG", b"SET", name, value, deadline=soon())
    with structlog.testing.capture_logs() as lines:
        found = await lenient.inspect(soon())
        assert await lenient.inspect(soon()) == found
    assert [word in " ".join(found) for word in ("appendonly yes", "allkeys-lru")] == [True, True]
    assert [line["finding"] for line in lines] == list(found)
    assert replica.metrics.findings._value.get() == 2
    await lenient.ask(soon())
    with pytest.raises(UnsafeStoreError, match="appendonly yes"):
        await strict.ask(soon())


async def test_a_full_memory_is_as_no_redis(replica: Replica) -> None:
    """When Valkey refuses to write for want of memory, the policy for a missing Redis applies."""
    await replica.client.command("CONFIG", b"SET", b"maxmemory", b"1mb", deadline=soon())
    await replica.client.command("CONFIG", b"SET", b"maxmemory-policy", b"noeviction", deadline=soon())
    assert status_of(await replica.create(fresh("by-hand"))).code == 503
    assert (await replica.create(fresh(GENERATED))).allowed


async def test_a_rebuild_reads_all_deliveries(replica: Replica) -> None:
    """After an emptied store and a rebuild, every stored run of a delivery has its record, and only those."""
    replica = Replica(replica.client, Storage(), replace(NO_LEASE))
    runs: list[OrchestrationRun] = [fresh(f"run-{number}", delivery_id=f"d-{number}") for number in range(200)]
    for run in (*runs, fresh("plain", delivery_id=None), make_run("old", uid=str(uuid.uuid4()), created=1e6)):
        replica.storage.store(run)
    await replica.client.command("FLUSHALL", deadline=soon())
    await until(rebuilder(replica).rebuild)
    size = await replica.client.command("DBSIZE", deadline=soon())
    assert size == 64 + len(runs)
