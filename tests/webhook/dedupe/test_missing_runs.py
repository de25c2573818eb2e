"""Records without runs, while runs are created, restored and confirmed at the same time."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon
from tests.webhook.dedupe.world import NAMESPACE
from webhook.dedupe.core.evidence import RecordFilter
from webhook.dedupe.core.identity import RecordAddress
from webhook.dedupe.core.record import OLD_VERSION, VERSION, State
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.missing_runs import FoundRecords, MissingRuns
from webhook.dedupe.report import MissingReport
from webhook.dedupe.settings import DedupeSettings
from webhook.store.client import RedisClient

HERE = RecordFilter((NAMESPACE,))


@pytest.fixture
async def replica(client: RedisClient) -> Replica:
    """A replica that writes records with the namespace."""
    return await Replica(client, settings=DedupeSettings(record_format=VERSION)).join()


def missing_of(replica: Replica) -> MissingRuns:
    """Return what is tested."""
    return replica.deduplication.records.admin.missing


async def confirm(replica: Replica, run: OrchestrationRun) -> None:
    """Confirm the record of a run."""
    await replica.confirmer.confirm(run, soon(), by="watch")


async def find(replica: Replica, chosen: RecordFilter = HERE) -> tuple[MissingReport, FoundRecords]:
    """Return the records without runs."""
    found = FoundRecords()
    return await missing_of(replica).report(chosen, found=found), found


async def state_of(replica: Replica, run: OrchestrationRun) -> State | None:
    """Return the state of a run's record."""
    _, record = await replica.store.get(key_of(run).address, soon())
    return record.state if record else None


async def test_a_confirmed_record_tells_its_namespace(replica: Replica) -> None:
    """Whatever confirms it writes the namespace, and a forget keeps it."""
    run = fresh()
    await confirm(replica, run)
    _, record = await replica.store.get(key_of(run).address, soon())
    assert record
    assert record.namespace == NAMESPACE
    await replica.confirmer.forget(key_of(run).address, record.uid, soon())
    _, record = await replica.store.get(key_of(run).address, soon())
    assert record
    assert (record.state, record.namespace) == (State.FORGOTTEN, NAMESPACE)


async def test_a_run_that_is_restored_meanwhile_keeps_its_record(replica: Replica) -> None:
    """What is stored when the operator says yes is not freed, also under another uid."""
    lost, restored = fresh("lost", delivery_id="a", age=900), fresh("restored", delivery_id="b", age=900)
    for run in (lost, restored):
        await confirm(replica, run)
    report, found = await find(replica)
    assert sorted(run.run for run in report.runs) == ["lost", "restored"]
    replica.storage.store(fresh("restored", delivery_id="b"))
    assert await missing_of(replica).free(found, HERE) == 1
    assert (await state_of(replica, lost), await state_of(replica, restored)) == (State.FORGOTTEN, State.CONFIRMED)


async def test_a_record_of_another_run_by_now_is_not_freed(replica: Replica) -> None:
    """Only what the operator has seen is freed."""
    first = fresh("first", age=900)
    await confirm(replica, first)
    _, found = await find(replica)
    address = key_of(first).address
    _, record = await replica.store.get(address, soon())
    assert record
    await replica.confirmer.forget(address, record.uid, soon())
    await confirm(replica, fresh("second", age=100))
    assert await missing_of(replica).free(found, HERE) == 0
    assert await state_of(replica, first) is State.CONFIRMED


async def test_a_run_that_is_created_while_the_records_are_read_is_not_missing(replica: Replica) -> None:
    """It is younger than the list of runs, so it is looked up by its name."""
    stored = missing_of(replica).none_stored()
    for run in (fresh("kept", delivery_id="a"), fresh("deleted", delivery_id="b")):
        replica.storage.store(run)
        await confirm(replica, run)
    del replica.storage.runs["deleted"]
    report = await missing_of(replica).report(HERE, stored)
    assert [run.run for run in report.runs] == ["deleted"]


async def test_a_young_record_without_a_namespace_is_undecided(client: RedisClient) -> None:
    """Its run cannot be looked up, and it may be younger than the list of runs; later, the list is proof."""
    replica = await Replica(client, settings=DedupeSettings(record_format=OLD_VERSION)).join()
    await confirm(replica, fresh("young", delivery_id="a"))
    await confirm(replica, fresh("old", delivery_id="b", age=900))
    report, _ = await find(replica, RecordFilter())
    assert ([run.run for run in report.runs], report.undecided) == (["old"], 1)
    report, _ = await find(replica)
    assert (report.count, report.undecided) == (0, 2)


async def test_records_of_namespaces_that_are_not_served_are_left_out(replica: Replica) -> None:
    """Their runs are not read, so nothing is known about them."""
    await confirm(replica, fresh(age=900))
    other = Replica(replica.client, replica.storage, replace(replica.settings, namespaces=("other",)))
    report, _ = await find(other, RecordFilter())
    assert report.count == 0


def test_found_records_are_kept_in_a_few_bytes() -> None:
    """They come back as they were added, by namespace."""
    found, added = FoundRecords(), []
    for number in range(10):
        address = RecordAddress(number, uuid.uuid4().bytes, f"ns-{number // 5}")
        added.append((address, str(uuid.uuid4())))
        found.add(*added[-1])
    assert (len(found), list(found)) == (10, added)
