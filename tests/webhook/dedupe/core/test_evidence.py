"""Which runs count, what a record becomes, and whether a run and its record agree."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from tests.webhook.dedupe.world import NAMESPACE, make_run
from webhook.dedupe.core.evidence import (
    RecordStatus,
    after_failure,
    after_forget,
    confirmed,
    consequence_of_forget,
    counts,
    first_that_counts,
    record_status,
)
from webhook.dedupe.core.fingerprint import fingerprint
from webhook.dedupe.core.identity import DeliveryKey, generated_name
from webhook.dedupe.core.record import NO_REQUEST, Forgotten, Record, State
from webhook.dedupe.core.run import OrchestrationRun

KEY = DeliveryKey(NAMESPACE, "nightly", "d-1")
NOW = 2_000_000.0
RETENTION = 1000.0
UID, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
RUN = make_run("a", uid=UID, created=NOW - 10, phase="Running")
RESERVED = Record(State.RESERVED, "a", UID, b"r" * 6, fingerprint(b"{}"), reserved_at=7)
CONFIRMED = Record(State.CONFIRMED, "a", UID, NO_REQUEST, fingerprint(b"{}"), int(NOW - 10), 7, "Running")


@pytest.mark.parametrize(
    ("run", "forgotten", "counted"),
    [
        (RUN, None, True),
        (make_run("a", uid=UID, created=NOW - 1000), None, False),
        (make_run("a", uid=UID, created=NOW - 999), None, True),
        (RUN, Forgotten(int(NOW - 10), UID), False),
        (RUN, Forgotten(int(NOW - 10), OTHER), True),
        (RUN, Forgotten(int(NOW - 9), OTHER), False),
    ],
)
def test_which_runs_count(run: OrchestrationRun, forgotten: Forgotten | None, *, counted: bool) -> None:
    """A run of the delivery counts if it is younger than the retention, and not forgotten nor older than that."""
    assert counts(run, forgotten=forgotten, now=NOW, retention=RETENTION) is counted


def test_the_oldest_run_is_the_one_of_the_delivery() -> None:
    """Of several runs the oldest counts, and of those of the same second the first by name."""
    runs = [make_run(name, uid=OTHER, created=NOW - age) for name, age in (("c", 5), ("b", 9), ("a", 9), ("z", 5000))]
    found = first_that_counts(runs, forgotten=None, now=NOW, retention=RETENTION)
    assert found is not None
    assert found.name == "a"
    assert first_that_counts(runs[3:], forgotten=None, now=NOW, retention=RETENTION) is None


@pytest.mark.parametrize(
    ("record", "run", "expected"),
    [
        (None, RUN, replace(CONFIRMED, reserved_at=0)),
        (RESERVED, RUN, CONFIRMED),
        (RESERVED, make_run("a", uid=OTHER, created=NOW - 10, phase="Running"), replace(CONFIRMED, uid=OTHER)),
        (CONFIRMED, RUN, None),
        (CONFIRMED, make_run("a", uid=UID, created=NOW - 10, phase="Failed"), replace(CONFIRMED, phase="Failed")),
        (CONFIRMED, make_run("a", uid=UID, created=NOW - 10), None),
        (CONFIRMED, make_run("b", uid=OTHER, created=NOW - 5, phase="Failed"), None),
        (RESERVED, make_run("a", uid=UID, created=NOW - 1000), None),
        (
            replace(RESERVED, forgotten=Forgotten(int(NOW - 20), OTHER)),
            RUN,
            replace(CONFIRMED, forgotten=Forgotten(int(NOW - 20), OTHER)),
        ),
        (replace(RESERVED, state=State.FORGOTTEN, forgotten=Forgotten(int(NOW - 10), UID)), RUN, None),
    ],
)
def test_what_a_record_becomes(record: Record | None, run: OrchestrationRun, expected: Record | None) -> None:
    """A stored run confirms its record, whatever uid was reserved; a confirmed record stays confirmed."""
    assert confirmed(record, run, now=NOW, retention=RETENTION) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, RecordStatus.MISSING),
        (RESERVED, RecordStatus.RESERVED),
        (replace(RESERVED, uid=OTHER), RecordStatus.RESERVED),
        (CONFIRMED, RecordStatus.CONFIRMED),
        (replace(CONFIRMED, uid=OTHER), RecordStatus.CONFLICT),
        (replace(CONFIRMED, state=State.FORGOTTEN, forgotten=Forgotten(int(NOW - 10), UID)), RecordStatus.FORGOTTEN),
        (replace(CONFIRMED, state=State.FORGOTTEN, forgotten=Forgotten(int(NOW - 20), OTHER)), RecordStatus.MISSING),
    ],
)
def test_the_status_of_a_record(record: Record | None, expected: RecordStatus) -> None:
    """Each difference between store and cluster has a name, and only what confirming mends is mendable."""
    found = record_status(RUN, record, now=NOW, retention=RETENTION)
    assert found is expected
    mended = confirmed(record, RUN, now=NOW, retention=RETENTION) is not None
    assert found.mendable is mended
    assert record_status(RUN, record, now=NOW + RETENTION, retention=RETENTION) is RecordStatus.EXPIRED


def test_a_record_is_as_good_a_witness_as_the_run() -> None:
    """If a run with the uid of the reservation is stored, the reservation tells enough to confirm itself."""
    created = replace(RESERVED, created_at=int(NOW - 10))
    assert confirmed(created, created, now=NOW, retention=RETENTION) == replace(CONFIRMED, phase="")


def test_a_failed_create_leaves_only_what_was_forgotten_before() -> None:
    """The reservation of a create that failed is deleted, unless it keeps that an earlier run was forgotten."""
    assert after_failure(RESERVED) is None
    forgotten = Forgotten(int(NOW - 20), OTHER)
    kept = after_failure(replace(RESERVED, forgotten=forgotten))
    assert kept is not None
    assert (kept.state, kept.forgotten, kept.request) == (State.FORGOTTEN, forgotten, NO_REQUEST)


def test_the_consequence_of_a_forget() -> None:
    """It depends on whether the run exists, may still be stored, or was deleted."""
    generated = replace(CONFIRMED, name=generated_name("nightly-", KEY.ref, KEY.delivery_id))
    assert "same generateName is refused" in consequence_of_forget(generated, KEY, stored=True)
    assert "both exist" in consequence_of_forget(CONFIRMED, KEY, stored=True)
    assert "on its way" in consequence_of_forget(RESERVED, KEY, stored=False)
    assert "gone" in consequence_of_forget(CONFIRMED, KEY, stored=False)


@pytest.mark.parametrize(
    ("record", "created_at"),
    [
        (CONFIRMED, int(NOW - 10)),
        (replace(CONFIRMED, forgotten=Forgotten(int(NOW - 20), OTHER)), int(NOW - 10)),
        (replace(CONFIRMED, forgotten=Forgotten(int(NOW - 5), OTHER)), int(NOW - 5)),
    ],
)
def test_a_forgotten_run_does_not_count_any_more(record: Record, created_at: int) -> None:
    """The record keeps the newest time of a forgotten run, and the run of the record does not count after it."""
    forgotten = after_forget(record)
    assert (forgotten.state, forgotten.forgotten) == (State.FORGOTTEN, Forgotten(created_at, UID))
    assert confirmed(forgotten, RUN, now=NOW, retention=RETENTION) is None
