"""Which runs count, what a record becomes, and how the two stand to each other."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from tests.webhook.hooks.dedupe.world import NAMESPACE, make_run
from webhook.hooks.dedupe.core.evidence import confirmed, counts, first_that_counts
from webhook.hooks.dedupe.core.fingerprint import fingerprint
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.names import generated_name
from webhook.hooks.dedupe.core.record import NO_REQUEST, Forgotten, Record, State
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.core.standing import Standing, after_forgetting, standing

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
        (make_run("a", uid=UID, created=NOW, delivery_id=" d-1"), None, False),
        (make_run("a", uid=UID, created=NOW, ref="other"), None, False),
        (make_run("a", uid=UID, created=NOW, delivery_id=None), None, False),
        (RUN, Forgotten(int(NOW - 10), UID), False),
        (RUN, Forgotten(int(NOW - 10), OTHER), True),
        (RUN, Forgotten(int(NOW - 9), OTHER), False),
    ],
)
def test_what_counts(run: OrchestrationRun, forgotten: Forgotten | None, *, counted: bool) -> None:
    """A run counts if it is of the delivery, younger than the retention, and not forgotten nor older than that."""
    assert counts(run, KEY, forgotten=forgotten, now=NOW, retention=RETENTION) is counted


def test_the_oldest_run_is_the_deliverys() -> None:
    """Of several runs the first one created counts, by name where they are of the same second."""
    runs = [make_run(name, uid=OTHER, created=NOW - age) for name, age in (("c", 5), ("b", 9), ("a", 9), ("z", 5000))]
    found = first_that_counts(runs, KEY, forgotten=None, now=NOW, retention=RETENTION)
    assert found is not None
    assert found.name == "a"
    assert first_that_counts(runs[3:], KEY, forgotten=None, now=NOW, retention=RETENTION) is None


@pytest.mark.parametrize(
    ("record", "run", "wanted"),
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
def test_what_a_record_becomes(record: Record | None, run: OrchestrationRun, wanted: Record | None) -> None:
    """A run that is seen confirms its record, whatever uid was reserved; what was once confirmed stays."""
    assert confirmed(record, run, KEY, now=NOW, retention=RETENTION) == wanted


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, Standing.MISSING),
        (RESERVED, Standing.RESERVED),
        (replace(RESERVED, uid=OTHER), Standing.RESERVED),
        (CONFIRMED, Standing.CONFIRMED),
        (replace(CONFIRMED, uid=OTHER), Standing.TWIN),
        (replace(CONFIRMED, state=State.FORGOTTEN, forgotten=Forgotten(int(NOW - 10), UID)), Standing.FORGOTTEN),
        (replace(CONFIRMED, state=State.FORGOTTEN, forgotten=Forgotten(int(NOW - 20), OTHER)), Standing.MISSING),
    ],
)
def test_how_a_run_stands_to_its_record(record: Record | None, expected: Standing) -> None:
    """Each way in which store and cluster can disagree has its name, and only what confirming mends is mendable."""
    found = standing(RUN, record, KEY, now=NOW, retention=RETENTION)
    assert found is expected
    mended = confirmed(record, RUN, KEY, now=NOW, retention=RETENTION) is not None
    assert found.mendable is mended
    assert standing(RUN, record, KEY, now=NOW + RETENTION, retention=RETENTION) is Standing.EXPIRED


def test_what_forgetting_means_is_said_before() -> None:
    """A run that exists keeps its name, one that is on its way may come, and one that is gone matters no more."""
    generated = replace(CONFIRMED, name=generated_name("nightly-", KEY.ref, KEY.delivery_id))
    assert "same generateName is refused" in after_forgetting(generated, KEY, stored=True)
    assert "both exist" in after_forgetting(CONFIRMED, KEY, stored=True)
    assert "on its way" in after_forgetting(RESERVED, KEY, stored=False)
    assert "gone" in after_forgetting(CONFIRMED, KEY, stored=False)
