"""Answers: every rule of the v1 protocol."""

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
    """Encode an answer and read it with another decoder."""
    document: dict[str, Any] = json.loads(encode(uid, decision))
    assert document["apiVersion"] == "admission.k8s.io/v1"
    assert document["kind"] == "AdmissionReview"
    response: dict[str, Any] = document["response"]
    return response


@given(st.text(min_size=1))
def test_the_uid_is_echoed(uid: str) -> None:
    """The server drops an answer with another uid."""
    assert written(allowed(), uid)["uid"] == uid


def test_allowed_has_nothing_else() -> None:
    """A plain yes carries neither patch nor patchType nor status: a validating webhook may send none."""
    assert written(allowed()) == {"uid": "u-1", "allowed": True}


def test_patch_and_type_come_together() -> None:
    """A patch is base64 of a JSON Patch, and its type is said."""
    response = written(patched((Add("/metadata/labels", {"a": "b"}),)))
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == [
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
    ]


def test_no_operations_is_no_patch() -> None:
    """An empty patch is left out together with its type."""
    assert written(patched(())) == {"uid": "u-1", "allowed": True}


def test_a_refusal_carries_its_status() -> None:
    """The whole status reaches the client: reason, code, details, causes and the retry."""
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
    """To refuse and to change at once is a defect."""
    with pytest.raises(ValueError, match="no patch"):
        Decision(allowed=False, operations=(Add("/a", "b"),), status=CONFLICT)


def test_a_yes_has_no_status() -> None:
    """A status says why not."""
    with pytest.raises(ValueError, match="refusal"):
        Decision(allowed=True, status=CONFLICT)


def test_a_conflict_asks_for_no_retry() -> None:
    """A client never retries a 409, so a retry time there would be a lie."""
    with pytest.raises(ValueError, match="429 or 503"):
        Status(message="m", reason="AlreadyExists", code=409, details=StatusDetails(retry_after_seconds=1))


@given(st.lists(st.text(max_size=600), max_size=60))
def test_warnings_fit_what_the_server_passes_on(warnings: list[str]) -> None:
    """However many come, none is longer and all are not larger than what reaches the client."""
    kept = bounded_warnings(tuple(warnings))
    assert all(len(warning) <= WARNING_LIMIT and warning.isprintable() for warning in kept)
    assert sum(map(len, kept)) <= WARNINGS_LIMIT


def test_warnings_are_told_once_and_cut_visibly() -> None:
    """The same line twice is one line; a long one ends in an ellipsis; a line break cannot break the header."""
    assert bounded_warnings(("a", "a", "b")) == ("a", "b")
    assert bounded_warnings(("x" * 300,))[0].endswith("…")
    assert bounded_warnings(("a\r\nSet-Cookie: b",)) == ("a  Set-Cookie: b",)


def test_left_out_warnings_are_counted() -> None:
    """What did not fit is at least said."""
    kept = bounded_warnings(tuple(f"{number:03}" + "x" * 200 for number in range(50)))
    assert kept[-1] == f"and {50 - (len(kept) - 1)} more warnings"
