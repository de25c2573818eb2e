"""What is known while Redis is away, and what outlives the servers: nothing of it lets a second run through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon, status_of, until
from webhook.dedupe.core.identity import bucket_keys, generated_name
from webhook.dedupe.core.record import State
from webhook.dedupe.settings import DedupeSettings, OnRedisDown, OnUnproved
from webhook.errors import KubernetesError
from webhook.store.client import RedisClient
from webhook.store.url import parse_url

GENERATED = generated_name("nightly-", "nightly", "d-1")
#: So short that a lease is over as soon as a run is a few seconds old.
SHORT = timedelta(microseconds=1)
AGE = 60.0


async def is_confirmed(replica: Replica) -> bool:
    """Return whether the delivery's record is confirmed."""
    _, record = await replica.store.get(key_of(fresh()).address, soon())
    return record is not None and record.state is State.CONFIRMED


@pytest.fixture
async def deleted(replica: Replica) -> Replica:
    """A replica that has allowed a run which was stored, confirmed and deleted."""
    run = fresh(GENERATED)
    assert (await replica.create(run)).allowed
    await replica.confirmer.confirm(run, soon(), by="delete")
    replica.storage.runs.clear()
    return replica


@pytest.mark.parametrize("policy", OnRedisDown)
async def test_a_short_stall_is_waited_out(valkey: Valkey, deleted: Replica, policy: OnRedisDown) -> None:
    """Redis stands still for 1.2 s: the create waits for it, and finds the record of the deleted run."""
    replica = await deleted.changed(DedupeSettings(on_redis_down=policy))
    valkey.freeze()
    thaw = asyncio.get_running_loop().call_later(1.2, valkey.thaw)
    decision = await replica.validate(fresh(GENERATED), seconds=10)
    thaw.cancel()
    assert (status_of(decision).code, replica.storage.runs) == (409, {})


async def test_while_redis_is_down_a_deleted_run_is_remembered(valkey: Valkey, deleted: Replica) -> None:
    """Another server has allowed it, and this one has only read of it: 503; other deliveries are allowed."""
    other = await Replica(deleted.client, deleted.storage).join()
    await deleted.leave()
    valkey.kill()
    status = status_of(await other.create(fresh(GENERATED)))
    assert (status.code, "an earlier create of the delivery was allowed" in status.message) == (503, True)
    unknown = generated_name("nightly-", "nightly", "d-2")
    assert (await other.create(fresh(unknown, delivery_id="d-2"))).allowed


async def test_a_server_that_has_never_read_the_records_refuses(valkey: Valkey, deleted: Replica) -> None:
    """A server that was started while Redis was down cannot know what was allowed before."""
    await deleted.leave()
    valkey.kill()
    started = Replica(deleted.client, deleted.storage)
    await started.keeper.step()
    status = status_of(await started.validate(fresh(GENERATED)))
    assert (status.code, "has not read its records yet" in status.message) == (503, True)


async def test_a_stored_run_is_confirmed_though_nothing_reports_it(replica: Replica) -> None:
    """No watch and no webhook: a server reads the run about a second later, so its deletion frees nothing."""
    assert (await replica.create(fresh("first"))).allowed
    await until(lambda: is_confirmed(replica))
    replica.storage.runs.clear()
    assert status_of(await replica.create(fresh("second"))).code == 409


async def test_another_server_looks_for_the_runs_of_one_that_died(replica: Replica) -> None:
    """The server that has allowed a create ends at once; the next one that starts confirms the run."""
    await replica.leave()
    assert (await (await Replica(replica.client, replica.storage).join()).create(fresh("first"))).allowed
    await replica.deduplication.keeper.step()
    other = await Replica(replica.client, replica.storage).join()
    await until(lambda: is_confirmed(other))


@pytest.mark.parametrize("policy", OnUnproved)
async def test_a_deletion_that_nobody_could_note(replica: Replica, policy: OnUnproved) -> None:
    """The run is stored and deleted while no server is there: allowed with a warning, or refused until forgotten."""
    run = fresh("first", age=AGE)
    assert (await replica.create(run)).allowed
    await replica.leave()
    # The time in which an early read would have been a proof passes while no server is there.
    await asyncio.sleep(2.1)
    replica.storage.runs.clear()
    later = await Replica(replica.client, replica.storage, DedupeSettings(lease=SHORT, on_unproved=policy)).join()
    decision = await later.validate(fresh("second"))
    if policy is OnUnproved.ALLOW:
        assert decision.allowed
        assert "dedupe.onUnproved: allow" in " ".join(decision.warnings)
        assert decision.audit_annotations["unproved-run"] == "first"
        assert later.metrics.unproved._value.get() == 1
        return
    status = status_of(decision)
    assert (status.code, "rollonce runs forget" in status.message) == (503, True)
    assert await later.confirmer.forget(key_of(run).address, run.uid, soon())
    assert (await later.validate(fresh("second"))).allowed


async def test_a_create_that_failed_is_free_after_its_lease(replica: Replica) -> None:
    """A quota refuses the create after we have allowed it: the servers see that it is absent, and free the delivery."""
    later = await replica.changed(DedupeSettings(lease=timedelta(seconds=2), on_unproved=OnUnproved.DENY))
    assert (await later.validate(fresh("first", age=AGE))).allowed

    async def is_free() -> bool:
        _, record = await later.store.get(key_of(fresh()).address, soon())
        return record is None

    await until(is_free)
    assert (await later.validate(fresh("second"))).allowed


async def test_what_was_admitted_without_redis_outlives_the_servers(valkey: Valkey, replica: Replica) -> None:
    """Admitted without Redis, deleted, all servers restarted, Redis back: another name is not allowed at once."""
    valkey.kill()
    assert (await replica.create(fresh(GENERATED))).allowed
    # The process dies: it takes nothing back, and clears nothing.
    for task in replica.tasks:
        task.cancel()
    await asyncio.gather(*replica.tasks, return_exceptions=True)
    replica.storage.runs.clear()
    valkey.restart()
    restarted = await Replica(replica.client, replica.storage).join()
    status = status_of(await restarted.validate(fresh("by-hand")))
    assert status.code == 503


@pytest.mark.parametrize("how", ["emptied", "deleted", "replaced"])
async def test_without_its_state_nothing_is_trusted(replica: Replica, how: str) -> None:
    """The ConfigMap is emptied, deleted, or replaced by a new one: missing records prove nothing for one lease."""
    storage = replica.storage
    if how == "emptied":
        assert storage.state is not None
        storage.state.pop("data")
        storage.touch_state()
    elif how == "deleted":
        storage.state = None
    else:
        storage.install_state()
    await replica.keeper.step()
    assert status_of(await replica.validate(fresh("by-hand"), seconds=0.5)).code == 503


async def test_a_server_waits_until_the_others_can_know_it(replica: Replica) -> None:
    """It is not ready before it stands in the ledger; without a ConfigMap there is nothing to wait for."""
    started = Replica(replica.client, replica.storage)
    shared, server = started.deduplication.shared, started.keeper._server
    with pytest.raises(KubernetesError, match="has not been read"):
        await shared.require_member(server)
    await shared.read(soon())
    with pytest.raises(KubernetesError, match="could not write"):
        await shared.require_member(server)
    await started.keeper.step()
    await shared.require_member(server)
    replica.storage.state = None
    await started.keeper.step()
    await shared.require_member(server)


async def test_an_emptied_store_is_not_new(replica: Replica) -> None:
    """A create is on its way and no run is stored when Redis is emptied: a restarted server does not call that new."""
    assert (await replica.validate(fresh("first"))).allowed
    await replica.leave()
    await replica.client.command("FLUSHALL", deadline=soon())
    restarted = await Replica(replica.client, replica.storage).join()
    assert status_of(await restarted.validate(fresh("second"), seconds=0.5)).code == 503


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[tuple[Valkey, Replica]]:
    """A Valkey that loses nothing, and a replica."""
    with Valkey.start(tmp_path / "durable", appendonly="always") as valkey:
        client = RedisClient(parse_url(valkey.url))
        yield valkey, await Replica(client).join()
        await client.close()


async def test_a_restart_that_lost_nothing_costs_no_lease(durable: tuple[Valkey, Replica]) -> None:
    """Everything that any server has seen is there again: the buckets are synced within seconds."""
    valkey, replica = durable
    assert (await replica.create(fresh("first"))).allowed
    valkey.kill()
    valkey.restart()

    async def allowed() -> bool:
        return (await replica.validate(fresh("other", delivery_id="d-2"))).allowed

    await until(allowed)
    assert status_of(await replica.create(fresh("second"))).code == 409


async def test_a_restart_that_lost_a_write_costs_a_lease(durable: tuple[Valkey, Replica]) -> None:
    """The number of the last write is lower than what the server has seen: nothing is trusted."""
    valkey, replica = durable
    run = fresh("first")
    assert (await replica.create(run)).allowed
    head = bucket_keys(key_of(run).bucket).head
    await replica.client.command("HINCRBY", head, b"n", -1, deadline=soon())
    valkey.kill()
    valkey.restart()
    for _ in range(3):
        await replica.keeper.step()
        await replica.follower.step(verify=False)
    marks, _ = await replica.buckets.marks(soon())
    assert not any(mark.synced for mark in marks.values())


async def test_without_the_right_to_read_runs_that_is_said(replica: Replica) -> None:
    """The first create is allowed with a warning, the duplicate is refused at once, and both name the right."""
    replica.storage.forbidden = True
    first = await replica.validate(fresh("first"))
    assert first.allowed
    assert "rollonce rbac -n shop" in " ".join(first.warnings)
    status = status_of(await replica.validate(fresh("second")))
    assert (status.code, "rollonce rbac -n shop" in status.message) == (403, True)
