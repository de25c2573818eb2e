"""The table of decisions, against its documentation and against its laws."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from webhook.hooks.dedupe.core.decide import (
    TABLE,
    Asker,
    Known,
    Lease,
    Live,
    Policy,
    Row,
    Situation,
    Trust,
    Verdict,
    decide,
)

DOCUMENT = Path(__file__).parents[5] / "docs" / "deduplication.md"
EVERYTHING = [Situation(*facts) for facts in itertools.product(Trust, Known, Asker, Live, Lease, Policy)]
GOES_ON = {Verdict.ALLOW, Verdict.RESERVE, Verdict.TAKE_OVER, Verdict.ADMIT}


def cells(row: Row) -> list[str]:
    """A row as the document prints it."""
    facts = (row.trust, row.record, row.asker, row.live, row.lease, row.policy)
    return ["" if fact is None else fact.value for fact in facts] + [row.verdict.value]


def test_the_document_prints_the_table() -> None:
    """The documentation's table is the code's, row by row."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| store |"))
    printed = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    documented = [[cell.strip(" *") for cell in line.strip("|").split("|")][:7] for line in printed]
    assert documented == [cells(row) for row in TABLE]


def test_every_row_decides_something() -> None:
    """No row is dead: each is the first that applies somewhere."""
    first = {next(index for index, row in enumerate(TABLE) if row.applies(each)) for each in EVERYTHING}
    assert first == set(range(len(TABLE)))


def test_a_confirmed_delivery_never_goes_on() -> None:
    """Whatever else is so, a confirmed record is a duplicate."""
    assert {decide(each) for each in EVERYTHING if each.record is Known.CONFIRMED} == {Verdict.DUPLICATE}


def test_a_run_that_was_seen_is_a_duplicate_for_all_but_its_own_create() -> None:
    """No other create goes on beside a run that a quorum read has shown, where the read was asked for."""
    for each in EVERYTHING:
        asked_for = decide(Situation(*(*_facts(each)[:3], Live.UNSEEN, *_facts(each)[4:]))) is Verdict.LOOK
        if asked_for and each.live is Live.PRESENT:
            assert decide(each) is Verdict.DUPLICATE


def test_nothing_goes_on_unproved() -> None:
    """A create goes on only as a retry, on a miss in a store that is whole, or after a look that found nothing."""
    for each in EVERYTHING:
        if decide(each) in GOES_ON and each.live in {Live.UNSEEN, Live.UNKNOWN}:
            retry = each.record is Known.RESERVED and each.asker is Asker.RETRY
            assert retry or (each.trust is Trust.WHOLE and each.record is Known.NONE)


def test_another_name_never_overtakes_a_create_that_may_be_on_its_way() -> None:
    """Within the lease, another name goes on in no case in which the store answers."""
    for each in EVERYTHING:
        if each.record is Known.RESERVED and each.asker is Asker.OTHER and each.lease is Lease.RUNNING:
            assert decide(each) not in GOES_ON or each.trust is Trust.DOWN


@pytest.mark.parametrize("trust", [Trust.DOWN, Trust.LOST])
def test_the_policy_stops_what_only_the_store_could_prove(trust: Trust) -> None:
    """With the store down or just emptied, a create that the policy stops goes on only as its own retry."""
    for each in EVERYTHING:
        if each.trust is trust and each.policy is Policy.STOP and decide(each) in GOES_ON:
            assert each.record is Known.RESERVED
            assert each.asker is Asker.RETRY


def test_nobody_waits_for_ever() -> None:
    """Once the lease is over, the store whole and the API server answering, every delivery comes to an end."""
    for each in EVERYTHING:
        if each.trust in {Trust.WHOLE, Trust.DOUBTED} and each.lease is Lease.OVER and each.live is Live.GONE:
            assert decide(each) in GOES_ON | {Verdict.DUPLICATE}


def _facts(each: Situation) -> tuple[Trust, Known, Asker, Live, Lease, Policy]:
    return each.trust, each.record, each.asker, each.live, each.lease, each.policy
