"""The answers to clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.admission.response import WARNING_LIMIT, Decision, Status, StatusDetails
from webhook.admission.text import shown
from webhook.dedupe.core.answers import (
    Existing,
    admitted,
    duplicate,
    immutable,
    in_flight,
    misconfigured,
    rights_warning,
    unavailable,
    unproved_warning,
)
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import ORCHESTRATION_RUNS

KEY = DeliveryKey("shop", "nightly", "d-1")
RUN = Existing("nightly-1", "uid-1", "Running", "r-1")


def read(decision: Decision) -> tuple[Status, StatusDetails]:
    """Return the status of a refusal and its details."""
    assert not decision.allowed
    assert decision.status is not None
    assert isinstance(decision.status.details, StatusDetails)
    return decision.status, decision.status.details


@pytest.mark.parametrize(
    ("recorded", "annotations"),
    [
        (True, {"delivery-id": "d-1", "idempotent": "false"}),
        (False, {"delivery-id": "d-1", "idempotent": "false", "store": "unavailable"}),
    ],
)
def test_the_audit_log_says_whether_a_create_has_its_record(*, recorded: bool, annotations: dict[str, str]) -> None:
    """An allowed create has audit annotations, which show whether it has a record."""
    decision = admitted(KEY, recorded=recorded)
    assert decision.allowed
    assert decision.audit_annotations == annotations


@pytest.mark.parametrize("strict", [False, True])
def test_a_duplicate_names_its_run(*, strict: bool) -> None:
    """Message, details, Warning and audit annotations name the run, its phase, and that nothing was created."""
    decision = duplicate(ORCHESTRATION_RUNS, KEY, RUN, strict=strict)
    status, details = read(decision)
    assert (status.code, status.reason) == (409, "AlreadyExists")
    assert (details.name, details.uid, details.kind, details.causes) == ("nightly-1", "uid-1", "orchestrationruns", ())
    for text in (status.message, *decision.warnings):
        assert [word in text for word in ("nightly-1", "phase Running", "idempotent", "'d-1'")] == [True] * 4
    assert decision.audit_annotations == {
        "delivery-id": "d-1",
        "idempotent": "true",
        "run": "nightly-1",
        "run-uid": "uid-1",
        "phase": "Running",
    }


@pytest.mark.parametrize(("strict", "code", "reason"), [(False, 409, "AlreadyExists"), (True, 422, "Invalid")])
def test_other_parameters_are_a_cause(*, strict: bool, code: int, reason: str) -> None:
    """Other parameters are in a cause, in the message that kubectl prints, in a Warning and in the audit log."""
    other = Existing("nightly-1", "uid-1", "Running", same_parameters=False)
    decision = duplicate(ORCHESTRATION_RUNS, KEY, other, strict=strict)
    status, details = read(decision)
    assert (status.code, status.reason) == (code, reason)
    (cause,) = details.causes
    assert (cause.reason, cause.field) == ("PayloadMismatch", "spec.parameters")
    assert "spec.parameters" in status.message
    assert "nightly-1" in cause.message
    assert any("parameters" in warning for warning in decision.warnings)
    assert decision.audit_annotations["payload"] == "mismatch"


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Existing("a", "u", ""), "phase Pending"),
        (Existing("a", "u", "Failed", stored=False), "deleted since, last phase Failed"),
        (Existing("a", "u", "", stored=False), "deleted since, last phase unknown"),
    ],
)
def test_the_phase_is_shown_in_words(run: Existing, words: str) -> None:
    """A run without a phase yet, and one that was deleted, are described as such."""
    status, _ = read(duplicate(ORCHESTRATION_RUNS, KEY, run, strict=False))
    assert words in status.message


def test_a_temporary_refusal_says_when_to_try_again() -> None:
    """429 and 503 carry the seconds that kubectl waits, in the details and in the message."""
    for decision, code, seconds in (
        (in_flight(ORCHESTRATION_RUNS, KEY, "nightly-1", retry_after=12), 429, 12),
        (unavailable(ORCHESTRATION_RUNS, KEY, "Redis cannot be used", retry_after=5), 503, 5),
    ):
        status, details = read(decision)
        assert (status.code, details.retry_after_seconds) == (code, seconds)
        assert status.message.endswith(f"try again in {seconds} s")
        assert decision.audit_annotations["idempotent"] == "unknown"


def test_a_missing_right_is_named_with_its_remedy() -> None:
    """A refusal that only an administrator can end asks for no retry, and says what to grant, as the Warning does."""
    status, details = read(misconfigured(ORCHESTRATION_RUNS, KEY))
    assert (status.code, status.reason, details.retry_after_seconds) == (403, "Forbidden", 0)
    for text in (status.message, rights_warning(ORCHESTRATION_RUNS, KEY.namespace)):
        assert "orchestrationruns.orchestration.proompteng.ai" in text
        assert "rollonce rbac -n shop | kubectl apply" in text


def test_warnings_fit_into_what_the_api_server_passes_on() -> None:
    """Also with long names, a Warning is not cut before its end."""
    key = DeliveryKey("n" * 63, "r" * 253, "d" * 40)
    assert len(rights_warning(ORCHESTRATION_RUNS, key.namespace)) <= WARNING_LIMIT
    assert len(unproved_warning(key, "a" * 63)) <= WARNING_LIMIT


def test_each_immutable_field_is_a_cause() -> None:
    """A 422 names every field in a cause, because kubectl prints only the causes."""
    status, details = read(immutable(ORCHESTRATION_RUNS, "a", ("spec.deliveryId", "spec.orchestrationRef")))
    assert (status.code, status.reason, details.kind) == (422, "Invalid", "OrchestrationRun")
    assert [cause.field for cause in details.causes] == ["spec.deliveryId", "spec.orchestrationRef"]
    assert all(cause.field in status.message for cause in details.causes)


@given(st.text(max_size=400))
def test_a_text_of_a_client_is_cut(text: str) -> None:
    """A short text is shown unchanged; of a longer one the beginning."""
    cut = shown(text)
    assert len(cut) <= 128
    assert cut.isprintable()
    if text.isprintable():
        assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
