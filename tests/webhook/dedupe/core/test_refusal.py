"""Why a create is refused for now, and for how long."""

from __future__ import annotations

import uuid
from dataclasses import replace

from webhook.dedupe.core.decide import Known, Lease, Live, Policy, Proof, Recall, Requester, Situation, StoreState
from webhook.dedupe.core.record import Record, State
from webhook.dedupe.core.refusal import refusal
from webhook.dedupe.core.reservation import Mark, ReserveOutcome, ReserveResult

NOW, LEASE, OUTAGE = 1_000_000, 90_000, 40.0
RECORD = Record(State.RESERVED, "first", str(uuid.UUID(int=1)), b"r" * 6, b"f" * 8)
LOST = ReserveResult(ReserveOutcome.MISSING, b"", None, NOW, Mark(b"L:1", synced=False, lost_at=NOW - 80_000))
FOUND = ReserveResult(ReserveOutcome.FOUND, b"raw", RECORD, NOW, Mark(b"W", synced=True))
NO_RECORD = (Known.NONE, Requester.OTHER, Live.ABSENT, Lease.OVER, Proof.NONE)
DOWN = Situation(StoreState.DOWN, *NO_RECORD, Policy.GO, Recall.NO)
AFTER_LOSS = Situation(StoreState.LOST, *NO_RECORD, Policy.STOP, Recall.NO)


def refused(facts: Situation, result: ReserveResult | None) -> tuple[str, int]:
    """Return the reason and the pause in an outage of 40 s, with a lease of 90 s."""
    return refusal(facts, result, lease=LEASE, outage=OUTAGE)


def test_too_few_replicas() -> None:
    """That is the reason only if the record is that of this create."""
    facts = replace(AFTER_LOSS, record=Known.RESERVED, requester=Requester.UNACKNOWLEDGED)
    why, pause = refused(facts, FOUND)
    assert "too few replicas" in why
    assert pause == 5
    assert "too few replicas" not in refused(replace(facts, record=Known.NONE), LOST)[0]


def test_the_api_server_does_not_answer() -> None:
    """It is named before Redis, because the table has asked it last."""
    assert refused(replace(DOWN, live=Live.UNKNOWN), None) == ("the API server does not answer", 5)


def test_an_outage_is_named_with_what_is_remembered() -> None:
    """The pause is as long as the outage; the reasons that only the policy `go` has are named only under it."""
    assert refused(DOWN, None) == ("Redis cannot be used", 40)
    assert "has not read its records yet" in refused(replace(DOWN, recall=Recall.BLIND), None)[0]
    assert "an earlier create of the delivery was allowed" in refused(replace(DOWN, recall=Recall.YES), None)[0]
    for recall in Recall:
        assert refused(replace(DOWN, policy=Policy.STOP, recall=recall), None) == ("Redis cannot be used", 40)


def test_a_loss_lasts_for_the_rest_of_the_lease() -> None:
    """80 of 90 s are over: the pause is eleven seconds."""
    why, pause = refused(AFTER_LOSS, LOST)
    assert "Redis has lost records" in why
    assert "an earlier create" not in why
    assert pause == 11
    assert "an earlier create" in refused(replace(AFTER_LOSS, policy=Policy.GO, recall=Recall.YES), LOST)[0]


def test_a_doubt_of_other_replicas_is_no_loss() -> None:
    """It ends within seconds."""
    why, pause = refused(AFTER_LOSS, replace(LOST, doubted=True))
    assert "another replica could not reach Redis" in why
    assert pause == 5


def test_what_only_an_operator_can_free() -> None:
    """The answer names the run, and the command; after a loss only if that is not the reason already."""
    facts = replace(AFTER_LOSS, store=StoreState.SYNCED, record=Known.RESERVED)
    why, pause = refused(facts, FOUND)
    assert '"first"' in why
    assert "rollonce runs forget" in why
    assert pause == 60
    lost = replace(facts, store=StoreState.LOST)
    assert "has lost records" in refused(lost, LOST)[0]
    assert "runs forget" in refused(replace(lost, policy=Policy.GO), FOUND)[0]


def test_anything_else_is_undecided() -> None:
    """No row of the table leads there; the answer is still a sentence."""
    proved = replace(AFTER_LOSS, store=StoreState.SYNCED, record=Known.RESERVED, proof=Proof.PROVED)
    assert refused(proved, FOUND) == ("it cannot be decided", 5)
