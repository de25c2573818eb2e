"""The way of a create through the table, step by step."""

from __future__ import annotations

import uuid
from dataclasses import replace

from webhook.dedupe.core.decide import Live, Policy, Recall, Verdict
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.record import Forgotten, Record, State
from webhook.dedupe.core.reservation import Mark, Read, ReserveOutcome, ReserveResult, Rules
from webhook.dedupe.core.submission import Answer, Create, Look, Pause, Reserve, Submission

NOW = 1_000_000
KEY = DeliveryKey("shop", "nightly", "d-1")
OURS = Record(State.RESERVED, "a", str(uuid.UUID(int=1)), b"r" * 6, b"f" * 8)
THEIRS = Record(State.RESERVED, "b", str(uuid.UUID(int=2)), b"q" * 6, b"f" * 8, reserved_at=NOW - 100_000)
SYNCED, LOST = Mark(b"Wabc", synced=True), Mark(b"Labc:1", synced=False, lost_at=NOW)
CREATE = Create(KEY, OURS, Policy.STOP, Rules(90_000))


def found(raw: bytes = b"theirs", mark: Mark = SYNCED) -> ReserveResult:
    """Return the store's answer if it has the record of another create."""
    return ReserveResult(ReserveOutcome.FOUND, raw, THEIRS, NOW, mark)


def test_a_first_create_is_allowed_after_one_question() -> None:
    """The store is asked for the record, and nothing else is read."""
    state = Submission(CREATE)
    assert state.next_step(patient=True) == Reserve(OURS)
    made = ReserveResult(ReserveOutcome.MADE, b"", None, NOW, SYNCED)
    step = state.after_reserve(made, Recall.NO).next_step(patient=True)
    assert isinstance(step, Answer)
    assert step.verdict is Verdict.ALLOW


def test_the_reserved_name_is_read_and_the_label_only_if_the_store_proves_nothing() -> None:
    """With a synced store a GET is enough; otherwise the delivery's runs are listed too."""
    synced = Submission(CREATE).after_reserve(found(), Recall.NO).next_step(patient=True)
    lost = Submission(CREATE).after_reserve(found(mark=LOST), Recall.NO).next_step(patient=True)
    doubted = replace(found(), doubted=True)
    assert isinstance(synced, Look)
    assert isinstance(lost, Look)
    assert (synced.name, synced.by_label) == ("b", False)
    assert (lost.name, lost.by_label) == ("b", True)
    step = Submission(CREATE).after_reserve(doubted, Recall.NO).next_step(patient=True)
    assert isinstance(step, Look)
    assert step.by_label
    down = Submission(CREATE).after_reserve(None, Recall.NO).next_step(patient=True)
    assert isinstance(down, Look)
    assert (down.name, down.by_label) == ("", True)


def test_an_old_reservation_is_taken_over_after_two_absences_with_the_same_record() -> None:
    """Each record has its own count; a read that fails, or finds a run, counts nothing."""
    state = Submission(CREATE)
    for raw, live in ((b"first", Live.ABSENT), (b"theirs", Live.ABSENT), (b"theirs", Live.UNKNOWN)):
        state = state.after_reserve(found(raw), Recall.NO).after_look(Read(live))
        assert isinstance(state.next_step(patient=True), Pause | Answer)
        state = state.after_pause()
    state = state.after_reserve(found(), Recall.NO).after_look(Read(Live.ABSENT))
    step = state.next_step(patient=False)
    assert isinstance(step, Reserve)
    assert (step.record, step.instead_of) == (OURS, found())


def test_a_take_over_without_a_proof_is_remembered() -> None:
    """The answer to a create that replaces an unproved reservation can name its run; other answers cannot."""
    state = Submission(CREATE)
    for _ in range(2):
        state = state.after_pause().after_reserve(found(), Recall.NO).after_look(Read(Live.ABSENT))
    made = ReserveResult(ReserveOutcome.MADE, b"", None, NOW, SYNCED)
    assert state.after_reserve(made, Recall.NO).unproved_name == "b"
    assert state.after_reserve(found(b"other"), Recall.NO).unproved_name == ""
    proved = state.after_pause().after_reserve(replace(found(), proved=True), Recall.NO).after_look(Read(Live.ABSENT))
    assert proved.after_reserve(made, Recall.NO).unproved_name == ""


def test_a_create_waits_only_while_there_is_time() -> None:
    """While another create may be stored, a create pauses, and is refused when its time is over."""
    running = replace(THEIRS, reserved_at=NOW)
    result = ReserveResult(ReserveOutcome.FOUND, b"theirs", running, NOW, SYNCED)
    state = Submission(CREATE).after_reserve(result, Recall.NO).after_look(Read(Live.ABSENT))
    assert isinstance(state.next_step(patient=True), Pause)
    step = state.next_step(patient=False)
    assert isinstance(step, Answer)
    assert step.verdict is Verdict.WAIT


def test_what_was_forgotten_stays_in_the_record() -> None:
    """A reservation in place of a forgotten record keeps the run that does not count any more."""
    forgotten = replace(THEIRS, state=State.FORGOTTEN, forgotten=Forgotten(5, THEIRS.uid))
    result = ReserveResult(ReserveOutcome.FOUND, b"theirs", forgotten, NOW, SYNCED)
    step = Submission(CREATE).after_reserve(result, Recall.NO).next_step(patient=True)
    assert isinstance(step, Reserve)
    assert step.record.forgotten == forgotten.forgotten
