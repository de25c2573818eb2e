"""The table of decisions, compared with its documentation and with its laws."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from webhook.dedupe.core.decide import (
    TABLE,
    Known,
    Lease,
    Live,
    Policy,
    Proof,
    Recall,
    Requester,
    Row,
    Situation,
    StoreState,
    Verdict,
    row_of,
)

DOCUMENT = Path(__file__).parents[4] / "docs" / "deduplication.md"
FACTS = (StoreState, Known, Requester, Live, Lease, Proof, Policy, Recall)
EVERYTHING = [Situation(*facts) for facts in itertools.product(*FACTS)]
ALLOWS = {Verdict.ALLOW, Verdict.RESERVE, Verdict.TAKE_OVER, Verdict.ADMIT}


def decide(situation: Situation) -> Verdict:
    """Return the verdict of the table."""
    return TABLE[row_of(situation)].verdict


def cells(row: Row) -> list[str]:
    """Return a row as the document prints it."""
    facts = (row.store, row.record, row.requester, row.live, row.lease, row.proof, row.policy, row.recall)
    return ["" if fact is None else fact.value for fact in facts] + [row.verdict.value]


def test_the_document_prints_the_table() -> None:
    """The documentation has the same table as the code, row by row."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| store |"))
    printed = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    documented = [[cell.strip(" *") for cell in line.strip("|").split("|")][:9] for line in printed]
    assert documented == [cells(row) for row in TABLE]


def test_every_row_decides_something() -> None:
    """Each row is the first that applies in some situation."""
    assert {row_of(each) for each in EVERYTHING} == set(range(len(TABLE)))


def test_a_confirmed_delivery_is_never_allowed() -> None:
    """Whatever the other facts are, a confirmed record is a duplicate."""
    assert {decide(each) for each in EVERYTHING if each.record is Known.CONFIRMED} == {Verdict.DUPLICATE}


def test_a_run_that_was_found_is_a_duplicate_for_all_but_its_own_create() -> None:
    """If the table asks for a read and the read finds a run, no other create is allowed."""
    for each in EVERYTHING:
        asked_for = decide(replace(each, live=Live.UNSEEN)) is Verdict.LOOK
        if asked_for and each.live is Live.PRESENT:
            assert decide(each) is Verdict.DUPLICATE


def test_nothing_is_allowed_without_a_proof() -> None:
    """A create is allowed only as a retry, if a synced store has no record, or after a read that found nothing."""
    for each in EVERYTHING:
        if decide(each) in ALLOWS and each.live in {Live.UNSEEN, Live.UNKNOWN, Live.FORBIDDEN}:
            retry = each.record is Known.RESERVED and each.requester is Requester.RETRY
            assert retry or (each.store is StoreState.SYNCED and each.record is Known.NONE)


def test_another_name_is_never_allowed_while_a_create_may_still_be_stored() -> None:
    """Within the lease, another name is not allowed in any case in which the store answers."""
    for each in EVERYTHING:
        if each.record is Known.RESERVED and each.requester is Requester.OTHER and each.lease is Lease.RUNNING:
            assert decide(each) not in ALLOWS or each.store is StoreState.DOWN


@pytest.mark.parametrize("store", [StoreState.DOWN, StoreState.LOST])
def test_the_policy_refuses_what_only_the_store_could_prove(store: StoreState) -> None:
    """If the store is down or has just lost records, a create that the policy stops is allowed only as a retry."""
    for each in EVERYTHING:
        if each.store is store and each.policy is Policy.STOP and decide(each) in ALLOWS:
            assert each.record is Known.RESERVED
            assert each.requester is Requester.RETRY


def test_no_delivery_waits_for_ever() -> None:
    """If the lease is over, the store has no recent loss and the API server answers, every delivery is decided.

    An exception is a run of which nothing says whether it was deleted, with `onUnproved: deny`.
    """
    for each in EVERYTHING:
        settled = each.store in {StoreState.SYNCED, StoreState.UNSYNCED}
        if settled and each.lease is Lease.OVER and each.live is Live.GONE and each.proof is not Proof.NONE:
            assert decide(each) in ALLOWS | {Verdict.DUPLICATE} or each.requester is Requester.UNACKNOWLEDGED


def test_a_delivery_that_is_remembered_is_not_admitted_without_a_record() -> None:
    """While the store cannot prove anything, only `onRedisDown: allow` overrides what a replica remembers."""
    for each in EVERYTHING:
        unproved = each.store in {StoreState.DOWN, StoreState.LOST} and each.record is Known.NONE
        if unproved and each.recall is Recall.YES and each.policy is not Policy.ALWAYS:
            assert decide(each) not in ALLOWS


def test_a_replica_that_remembers_nothing_admits_nothing_without_the_store() -> None:
    """A replica that has not read the records of the store yet answers as `onRedisDown: deny` says."""
    for each in EVERYTHING:
        if each.store is StoreState.DOWN and each.record is Known.NONE and each.recall is Recall.BLIND:
            assert decide(each) is not Verdict.ADMIT or each.policy is Policy.ALWAYS


def test_what_nothing_proves_is_left_to_the_operator() -> None:
    """With `onUnproved: deny`, absence alone frees no reservation of another create."""
    for each in EVERYTHING:
        if each.record is Known.RESERVED and each.proof is Proof.NONE and each.store is not StoreState.DOWN:
            assert decide(each) is not Verdict.TAKE_OVER
