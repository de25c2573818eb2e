"""What is known of a delivery after an outage, in the next one, and of creates that storage has refused."""

from __future__ import annotations

from datetime import timedelta

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon, status_of, until
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.settings import DedupeSettings, OnUnproved

GENERATED = generated_name("nightly-", "nightly", "d-1")
OTHER_PREFIX = generated_name("other-", "nightly", "d-1")


async def test_what_one_outage_has_admitted_is_remembered_in_the_next(valkey: Valkey, replica: Replica) -> None:
    """Admitted without Redis, confirmed afterwards and deleted: when Redis is down again, it is not admitted again."""
    replica = await replica.changed(DedupeSettings(lease=timedelta(microseconds=1)))
    valkey.kill()
    run = fresh(GENERATED)
    assert (await replica.create(run)).allowed
    valkey.restart()
    await until(replica.rebuilder.rebuild)
    await replica.confirmer.confirm(run, soon(), by="delete")
    replica.storage.runs.clear()
    assert status_of(await replica.create(fresh(GENERATED))).code == 409
    other = await Replica(replica.client, replica.storage, replica.settings).join()
    await replica.leave()
    valkey.kill()
    assert status_of(await other.create(fresh(GENERATED))).code == 503


async def test_a_record_that_was_written_later_is_told_to_the_servers(replica: Replica) -> None:
    """A run that only the watch has seen is followed like a reservation."""
    other = await Replica(replica.client, replica.storage).join()
    await replica.confirmer.confirm(fresh(GENERATED), soon(), by="watch")
    await other.follower.step(verify=False)
    assert key_of(fresh()).address.digest in other.deduplication.recollection._filter


async def test_in_an_outage_two_prefixes_exclude_each_other(valkey: Valkey, replica: Replica) -> None:
    """The first is admitted and not stored yet: the same name is admitted again, and another one is not."""
    valkey.kill()
    assert (await replica.validate(fresh(GENERATED))).allowed
    assert status_of(await replica.validate(fresh(OTHER_PREFIX))).code == 503
    assert (await replica.validate(fresh(GENERATED))).allowed


async def test_a_create_that_storage_refused_for_a_forgotten_run_blocks_nothing(replica: Replica) -> None:
    """The name belongs to a run that was forgotten: the reservation is freed after its lease, as any failed one."""
    settings = DedupeSettings(lease=timedelta(seconds=2), on_unproved=OnUnproved.DENY)
    replica = await replica.changed(settings)
    old = fresh(GENERATED, age=60)
    assert (await replica.create(old)).allowed
    await replica.confirmer.confirm(old, soon(), by="watch")
    assert await replica.confirmer.forget(key_of(old).address, old.uid, soon())
    again = fresh(GENERATED, age=60)
    assert (await replica.validate(again)).allowed
    assert not replica.storage.store(again)

    async def is_free() -> bool:
        return (await replica.validate(fresh("by-hand"), seconds=0.5)).allowed

    await until(is_free)
