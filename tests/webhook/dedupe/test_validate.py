"""The answers of the validating webhook and of the webhook for deletions, over a real Valkey."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
import structlog

from tests.webhook.dedupe.conftest import Replica, fresh, holds_records, key_of, soon, status_of
from tests.webhook.dedupe.world import NAMESPACE, make_run
from webhook.admission.response import StatusDetails
from webhook.admission.review import AdmissionRequest, Operation
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.core.run import OrchestrationRun, Status
from webhook.dedupe.settings import DedupeSettings
from webhook.store.client import RedisClient


async def test_the_first_create_is_allowed_and_the_second_is_a_duplicate(replica: Replica) -> None:
    """The second create of a delivery is refused by 409 with the run's name, uid and phase."""
    first = fresh("nightly-1")
    assert (await replica.create(first)).allowed
    replica.storage.runs["nightly-1"] = msgspec.structs.replace(first, status=Status(phase="Running"))
    decision = await replica.create(fresh("nightly-2"))
    status = status_of(decision)
    assert (status.code, status.reason) == (409, "AlreadyExists")
    assert all(word in status.message for word in ("nightly-1", "Running", "idempotent"))
    assert isinstance(status.details, StatusDetails)
    assert status.details.uid == first.uid
    assert decision.warnings
    assert decision.audit_annotations["idempotent"] == "true"


async def test_each_decision_is_one_line_of_the_log(replica: Replica) -> None:
    """The line has the uid of the request, the delivery, the run that exists, and whether the create was idempotent."""
    with structlog.testing.capture_logs() as lines:
        await replica.create(fresh("nightly-1"))
        await replica.validate(fresh("nightly-2"), request_uid="second")
    first, second = (line for line in lines if line["event"] == "run decided")
    assert (first["outcome"], first["idempotent"], first["run"]) == ("allow", False, "nightly-1")
    assert (second["outcome"], second["idempotent"], second["run"]) == ("duplicate", True, "nightly-1")
    assert (second["request_uid"], second["deliveryId"], second["namespace"]) == ("second", "d-1", NAMESPACE)


async def test_a_duplicate_with_other_parameters_is_marked(replica: Replica) -> None:
    """Other parameters under a known deliveryId are a cause of the 409; under strict they are 422."""
    await replica.create(fresh("nightly-1", parameters=b'{"a": "1", "b": "2"}'))
    same = status_of(await replica.create(fresh("nightly-2", parameters=b'{"b": "2", "a": "1"}')))
    assert "parameters" not in same.message
    other = status_of(await replica.create(fresh("nightly-2", parameters=b'{"a": "2"}')))
    assert isinstance(other.details, StatusDetails)
    assert (other.code, [cause.reason for cause in other.details.causes]) == (409, ["PayloadMismatch"])
    strict = Replica(replica.client, replica.storage, DedupeSettings(strict=True))
    refused = status_of(await strict.create(fresh("nightly-2", parameters=b'{"a": "2"}')))
    assert (refused.code, refused.reason) == (422, "Invalid")


@pytest.mark.parametrize("delivery_id", [None, "", "   "])
async def test_a_run_without_a_delivery_id_is_always_allowed(replica: Replica, delivery_id: str | None) -> None:
    """Absent and blank ids are never refused and write nothing."""
    for name in ("a", "b"):
        assert (await replica.create(fresh(name, delivery_id=delivery_id))).allowed
    assert not await holds_records(replica)


async def test_other_namespace_and_other_orchestration_are_other_deliveries(replica: Replica) -> None:
    """The same id counts once per namespace and orchestrationRef."""
    for run in (
        fresh("a"),
        make_run("a", uid=str(uuid.uuid4()), namespace="other", created=2e9),
        make_run("b", uid=str(uuid.uuid4()), ref="weekly", created=2e9),
    ):
        assert (await replica.validate(run)).allowed


async def test_a_dry_run_reads_and_writes_nothing(replica: Replica) -> None:
    """A dry run is allowed without a record, also if the delivery has its run."""
    assert (await replica.validate(fresh(), dry_run=True)).allowed
    assert not await holds_records(replica)


async def test_the_same_create_is_allowed_again(replica: Replica) -> None:
    """The same request uid, or the same object under another request uid, is a retry and is allowed."""
    run = fresh()
    request_uid = str(uuid.uuid4())
    assert (await replica.validate(run, request_uid=request_uid)).allowed
    assert (await replica.validate(run, request_uid=request_uid)).allowed
    assert (await replica.validate(run)).allowed


async def test_a_create_that_failed_later_may_be_repeated_by_name_at_once(replica: Replica) -> None:
    """If an allowed create was not stored, another create of the same name is allowed without waiting."""
    assert (await replica.validate(fresh("nightly-1"))).allowed
    assert (await replica.validate(fresh("nightly-1"))).allowed


async def test_another_name_waits_while_a_create_is_under_way(replica: Replica) -> None:
    """Within the lease another name gets 429, after which kubectl waits and tries again."""
    assert (await replica.validate(fresh("nightly-1"))).allowed
    status = status_of(await replica.validate(fresh("nightly-2"), seconds=0.5))
    assert isinstance(status.details, StatusDetails)
    assert (status.code, status.details.retry_after_seconds) == (429, 12)


async def test_another_name_is_a_duplicate_as_soon_as_the_run_is_stored(replica: Replica) -> None:
    """A create that waits reads again, and finds the run that has been stored meanwhile."""
    first = fresh("nightly-1")
    assert (await replica.validate(first)).allowed
    waiting = asyncio.create_task(replica.validate(fresh("nightly-2"), seconds=20))
    read = asyncio.Event()
    replica.storage.before_read = read.set
    await read.wait()
    replica.storage.store(first)
    assert status_of(await waiting).code == 409


async def test_another_name_takes_over_after_the_lease(client: RedisClient) -> None:
    """After the lease, and after two reads that find nothing, another name is allowed."""
    replica = Replica(client, settings=DedupeSettings(lease=timedelta(microseconds=1)))
    await replica.join()
    assert (await replica.validate(fresh("nightly-1", age=60))).allowed
    assert (await replica.validate(fresh("nightly-2"))).allowed


async def test_a_run_of_another_delivery_under_the_reserved_name_proves_nothing(replica: Replica) -> None:
    """Only a run of this delivery counts, not that the name is in use."""
    assert (await replica.validate(fresh("nightly-1"))).allowed
    replica.storage.store(fresh("nightly-1", delivery_id="another"))
    assert (await replica.validate(fresh("nightly-1"))).allowed


async def test_a_run_with_another_uid_under_the_reserved_name_counts(replica: Replica) -> None:
    """Of two creates of one name either may be stored: a create of another name is its duplicate."""
    first, second = fresh("nightly-1"), fresh("nightly-1")
    assert (await replica.validate(first)).allowed
    assert (await replica.validate(second)).allowed
    replica.storage.store(first)
    decision = await replica.validate(fresh("nightly-3"))
    assert decision.audit_annotations["run-uid"] == first.uid


async def test_no_answer_from_the_api_server_is_never_a_guess(replica: Replica) -> None:
    """While the reserved name cannot be read, the answer is 503 with a pause."""
    assert (await replica.validate(fresh("nightly-1"))).allowed
    replica.storage.down = True
    status = status_of(await replica.validate(fresh("nightly-1")))
    assert isinstance(status.details, StatusDetails)
    assert status.code == 503
    assert status.details.retry_after_seconds


async def test_a_deleted_run_is_still_known(replica: Replica) -> None:
    """A run whose deletion the webhook has noted keeps its delivery; the record has its last phase."""
    run = fresh("nightly-1")
    await replica.create(run)
    done = msgspec.structs.replace(run, status=Status(phase="Succeeded"))
    request = AdmissionRequest(
        uid="1", operation=Operation.DELETE, name="nightly-1", namespace=NAMESPACE, old_object=done
    )
    assert (await replica.handlers.note_deletion(request, soon())).allowed
    replica.storage.runs.clear()
    status = status_of(await replica.create(fresh("nightly-2")))
    assert status.code == 409
    assert "Succeeded" in status.message
    assert "deleted" in status.message


async def test_a_hundred_creates_at_once_with_a_hundred_names_make_one_run(replica: Replica) -> None:
    """Of a hundred concurrent creates under different names, through two replicas, exactly one is allowed."""
    other = Replica(replica.client, replica.storage)
    decisions = await asyncio.gather(
        *((replica, other)[number % 2].create(fresh(f"nightly-{number}")) for number in range(100))
    )
    assert sum(decision.allowed for decision in decisions) == 1
    assert len(replica.storage.runs) == 1


async def test_a_record_of_a_newer_release_is_never_guessed(replica: Replica) -> None:
    """A record in an unknown format is answered by 503, which says that replicas must be upgraded."""
    run = fresh("nightly-1")
    key = key_of(run)
    await replica.client.command("SET", key.record_key, b"\x63" + bytes(60), deadline=soon())
    status = status_of(await replica.create(fresh(generated_name("nightly-", key.ref, key.delivery_id))))
    assert status.code == 503
    assert "format 99" in status.message


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        (make_run("a"), make_run("a"), []),
        (make_run("a", delivery_id=None), make_run("a", delivery_id=None, ref="other"), []),
        (make_run("a", delivery_id=" "), make_run("a", delivery_id=None), []),
        (make_run("a"), make_run("a", phase="Running"), []),
        (make_run("a"), make_run("a", delivery_id="d-2"), ["spec.deliveryId"]),
        (make_run("a"), make_run("a", delivery_id=" d-1"), ["spec.deliveryId"]),
        (make_run("a"), make_run("a", delivery_id=None), ["spec.deliveryId"]),
        (make_run("a", delivery_id=None), make_run("a"), ["spec.deliveryId"]),
        (make_run("a"), make_run("a", ref="other"), ["spec.orchestrationRef"]),
        (make_run("a"), OrchestrationRun(), ["spec.deliveryId", "spec.orchestrationRef"]),
    ],
)
async def test_the_identity_of_a_delivery_is_immutable(
    replica: Replica, old: OrchestrationRun, new: OrchestrationRun, fields: list[str]
) -> None:
    """An update that adds, changes or removes the identity is 422 and names each field; any other is allowed."""
    request = AdmissionRequest(uid="1", operation=Operation.UPDATE, name="a", object=new, old_object=old)
    decision = await replica.handlers.guard(request, soon())
    assert decision.allowed is not bool(fields)
    if fields:
        status = status_of(decision)
        assert isinstance(status.details, StatusDetails)
        assert (status.code, [cause.field for cause in status.details.causes]) == (422, fields)
        assert (await replica.handlers.guard(replace_dry(request), soon())).allowed is False


def replace_dry(request: AdmissionRequest[OrchestrationRun]) -> AdmissionRequest[OrchestrationRun]:
    """Return the same request as a dry run, which gets the same answer."""
    return msgspec.structs.replace(request, dry_run=True)


async def test_the_retention_counts_from_the_creation_and_a_duplicate_never_extends_it(replica: Replica) -> None:
    """A confirmed record expires at the run's creation plus the retention, after any number of duplicates."""
    run = fresh("nightly-1")
    key = key_of(run)
    await replica.create(run)
    await replica.confirmer.confirm(run, soon(), by="watch")
    for _ in range(3):
        await replica.create(fresh("nightly-2"))
    expiry = await replica.client.command("PEXPIRETIME", key.record_key, deadline=soon())
    assert expiry == (run.created_at + 7 * 86400) * 1000
    longer = Replica(replica.client, replica.storage, replace(replica.settings, retention=timedelta(days=30)))
    await longer.confirmer.confirm(run, soon(), by="watch")
    assert await replica.client.command("PEXPIRETIME", key.record_key, deadline=soon()) == expiry


async def test_a_run_older_than_the_retention_does_not_count(replica: Replica) -> None:
    """A run older than the retention is not confirmed any more, and another name is allowed."""
    old = make_run("nightly-1", uid=str(uuid.uuid4()), created=1_000_000)
    replica.storage.store(old)
    await replica.confirmer.confirm(old, soon(), by="watch")
    assert (await replica.create(fresh("nightly-2"))).allowed
