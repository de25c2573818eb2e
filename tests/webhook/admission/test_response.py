"""Admission responses: every rule of the v1 protocol."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.admission.patch import Add
from webhook.admission.response import (
    WARNING_LIMIT,
    WARNINGS_LIMIT,
    Decision,
    Status,
    StatusCause,
    StatusDetails,
    allowed,
    bounded_warnings,
    denied,
    encode,
    patched,
)

CONFLICT = Status(message="taken", reason="AlreadyExists", code=409)


def written(decision: Decision, uid: str = "u-1") -> dict[str, Any]:
    """Encode a response and decode it with another decoder."""
    document: dict[str, Any] = json.loads(encode(uid, decision))
    assert document["apiVersion"] == "admission.k8s.io/v1"
    assert document["kind"] == "AdmissionReview"
    response: dict[str, Any] = document["response"]
    return response


@given(st.text(min_size=1))
def test_the_uid_is_echoed(uid: str) -> None:
    """The response has the uid of the request; the API server ignores any other."""
    assert written(allowed(), uid)["uid"] == uid


def test_a_plain_allowed_response_has_nothing_else() -> None:
    """An allowed response has no patch, no patchType and no status, as required of validating webhooks."""
    assert written(allowed()) == {"uid": "u-1", "allowed": True}


def test_a_patch_has_a_type() -> None:
    """The patch is a JSON Patch in base64, and patchType is set."""
    response = written(patched((Add("/metadata/labels", {"a": "b"}),)))
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == [
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
    ]


def test_no_operations_give_no_patch() -> None:
    """Without operations, the response has neither patch nor patchType."""
    assert written(patched(())) == {"uid": "u-1", "allowed": True}


def test_a_refusal_has_its_status() -> None:
    """The client gets the whole status: reason, code, details, causes and the time of a retry."""
    details = StatusDetails(
        name="run-1",
        group="g",
        kind="runs",
        uid="o-1",
        causes=(StatusCause("R", "m", "spec.x"),),
        retry_after_seconds=3,
    )
    status = Status(message="busy", reason="TooManyRequests", code=429, details=details)
    response = written(denied(status, warnings=("w",), audit_annotations={"k": "v"}))
    assert response == {
        "uid": "u-1",
        "allowed": False,
        "status": {
            "status": "Failure",
            "message": "busy",
            "reason": "TooManyRequests",
            "code": 429,
            "details": {
                "name": "run-1",
                "group": "g",
                "kind": "runs",
                "uid": "o-1",
                "causes": [{"reason": "R", "message": "m", "field": "spec.x"}],
                "retryAfterSeconds": 3,
            },
        },
        "warnings": ["w"],
        "auditAnnotations": {"k": "v"},
    }


def test_a_refusal_has_no_patch() -> None:
    """A decision that refuses and patches is rejected."""
    with pytest.raises(ValueError, match="no patch"):
        Decision(allowed=False, operations=(Add("/a", "b"),), status=CONFLICT)


def test_an_allowed_decision_has_no_status() -> None:
    """A decision that allows and has a status is rejected."""
    with pytest.raises(ValueError, match="refusal"):
        Decision(allowed=True, status=CONFLICT)


def test_a_conflict_has_no_retry_time() -> None:
    """A retry time is rejected for 409, because clients do not retry a 409."""
    with pytest.raises(ValueError, match="429 or 503"):
        Status(message="m", reason="AlreadyExists", code=409, details=StatusDetails(retry_after_seconds=1))


@given(st.lists(st.text(max_size=600), max_size=60))
def test_warnings_fit_the_limits_of_the_server(warnings: list[str]) -> None:
    """Any warnings are cut so that each one and their sum are within the limits of the API server."""
    kept = bounded_warnings(tuple(warnings))
    assert all(len(warning) <= WARNING_LIMIT and warning.isprintable() for warning in kept)
    assert sum(map(len, kept)) <= WARNINGS_LIMIT


def test_warnings_are_unique_and_cut_with_an_ellipsis() -> None:
    """A repeated warning is sent once, a long one ends in an ellipsis, and line breaks are replaced."""
    assert bounded_warnings(("a", "a", "b")) == ("a", "b")
    assert bounded_warnings(("x" * 300,))[0].endswith("…")
    assert bounded_warnings(("a\r\nSet-Cookie: b",)) == ("a  Set-Cookie: b",)


def test_omitted_warnings_are_counted() -> None:
    """If warnings do not fit, the last one says how many were omitted."""
    kept = bounded_warnings(tuple(f"{number:03}" + "x" * 200 for number in range(50)))
    assert kept[-1] == f"and {50 - (len(kept) - 1)} more warnings"
