"""What `rollonce submit` does about each reply: those of the webhook, and those of the API server."""

from __future__ import annotations

import json

import msgspec
import pytest

from webhook.admission.response import Decision
from webhook.dedupe.core.answers import Existing, duplicate, in_flight, misconfigured, unavailable
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import ORCHESTRATION_RUNS as RUNS
from webhook.dedupe.core.submit_reply import (
    AlreadyThere,
    CreateAnswer,
    Created,
    Later,
    Refused,
    RunEnd,
    create_answer,
    end_of,
    refusal,
)

KEY = DeliveryKey("shop", "nightly", "d-1")
EXISTING = Existing("nightly-1", "uid-1", "Running")
OTHER = Existing("nightly-1", "uid-1", "Running", same_parameters=False)


def answer(status: int, *, retry_after: int | None = None, text: bytes | None = None, **fields: object) -> CreateAnswer:
    """Return what a reply means."""
    return create_answer(status, json.dumps(fields).encode() if text is None else text, retry_after, RUNS)


def answer_to(decision: Decision) -> CreateAnswer:
    """Return what the answer of the webhook means, as the API server passes it on."""
    assert decision.status is not None
    return create_answer(decision.status.code, msgspec.json.encode(decision.status), None, RUNS)


def test_a_created_run_is_created() -> None:
    """201; a dry run is answered by it too."""
    assert answer(201) == Created()


@pytest.mark.parametrize(("strict", "uid"), [(False, "uid-1"), (True, "")])
def test_the_webhooks_duplicate_names_the_run(strict: bool, uid: str) -> None:  # noqa: FBT001 - a parameter of the test
    """409 `AlreadyExists`; with other parameters, by `strict`, 422 `Invalid`, which has no uid."""
    same = answer_to(duplicate(RUNS, KEY, EXISTING, strict=strict))
    assert isinstance(same, AlreadyThere)
    assert (same.name, same.uid, same.mismatch, same.compared) == ("nightly-1", "uid-1", False, True)
    other = answer_to(duplicate(RUNS, KEY, OTHER, strict=strict))
    assert isinstance(other, AlreadyThere)
    assert (other.name, other.uid, other.mismatch, other.compared) == ("nightly-1", uid, True, True)


def test_the_storages_duplicate_compares_nothing() -> None:
    """The API server's own 409 has no uid."""
    found = answer(409, reason="AlreadyExists", details={"name": "a", "kind": "orchestrationruns"})
    assert isinstance(found, AlreadyThere)
    assert (found.name, found.compared) == ("a", False)


def test_what_is_not_known_yet_is_waited_for() -> None:
    """As long as the answer says, in its details or in a header."""
    assert isinstance(waited := answer_to(unavailable(RUNS, KEY, "Redis is down", retry_after=90)), Later)
    assert (waited.seconds, waited.maybe_stored) == (90, True)
    assert "the API server answered 503: it is unknown now whether delivery 'd-1'" in waited.reason
    assert isinstance(waited := answer_to(in_flight(RUNS, KEY, "a", retry_after=7)), Later)
    assert (waited.seconds, waited.maybe_stored) == (7, False)
    assert answer(429, text=b"Too many", retry_after=1) == Later("the API server answered 429", 1, maybe_stored=False)
    assert answer(503, details={"retryAfterSeconds": -5}) == Later("the API server answered 503")


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_what_may_be_stored_is_sent_again(status: int) -> None:
    """A webhook that cannot be called is a 500, and nothing tells whether a create that took too long was stored."""
    later = answer(status, message="failed calling webhook")
    assert later == Later(f"the API server answered {status}: failed calling webhook")


def test_a_conflict_stores_nothing_and_is_sent_again() -> None:
    """A quota that changes meanwhile gives 409 `Conflict`."""
    assert isinstance(conflict := answer(409, reason="Conflict", message="the object has been modified"), Later)
    assert not conflict.maybe_stored


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_everything_else_is_refused_in_one_line(status: int) -> None:
    """The message of the API server is shown, without what could write over a terminal."""
    refused = answer(status, message="no\nway\x1b[2J", reason="Other", details={"kind": "namespaces"})
    assert refused == Refused(f"The API server answered {status}: no\\nway\\x1b[2J.")


def test_a_missing_right_of_rollonce_is_refused() -> None:
    """The message names the command that grants it."""
    refused = answer_to(misconfigured(RUNS, KEY))
    assert isinstance(refused, Refused)
    assert "rollonce rbac -n shop | kubectl apply -f -" in refused.message


def test_a_missing_definition_is_named() -> None:
    """A path that is not served is answered by text."""
    message = "The CustomResourceDefinition orchestrationruns.orchestration.proompteng.ai is not installed, or "
    assert refusal(404, b"404 page not found\n", RUNS) == f"{message}does not serve the version v1alpha1."


def test_unknown_credentials_are_named() -> None:
    """Also if the API server, or a proxy before it, says nothing."""
    assert refusal(401, b"", RUNS) == "The API server answered 401: it does not know the credentials."


@pytest.mark.parametrize(
    ("phase", "end"),
    [
        *((word, RunEnd.SUCCEEDED) for word in ("Succeeded", "Completed", "succeeded")),
        *((word, RunEnd.FAILED) for word in ("Failed", "Error", "Cancelled", "Canceled", "FAILED")),
        *((word, None) for word in ("", "Pending", "Running", "Unknown", "Failing")),
    ],
)
def test_a_phase_tells_whether_a_run_has_ended(phase: str, end: RunEnd | None) -> None:
    """A phase that is not known as an end is none."""
    assert end_of(phase) is end
