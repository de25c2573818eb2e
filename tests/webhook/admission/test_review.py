"""Decoding of AdmissionReviews: which fields are read, which are ignored, and how malformed reviews are rejected."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from webhook.admission.review import AdmissionRequest, Operation, ReviewDecoder
from webhook.errors import MalformedReviewError


class Thing(msgspec.Struct, frozen=True):
    """The fields of an object that a test reads."""

    color: str = ""
    parts: dict[str, str] | None = None


DECODER = ReviewDecoder(Thing)


def review(request: object, **changes: Any) -> bytes:
    """Return an encoded AdmissionReview."""
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(document | changes).encode()


def test_the_needed_fields_are_decoded() -> None:
    """All fields that decisions need are decoded; other fields are ignored."""
    request = DECODER.decode(
        review(
            {
                "uid": "u-1",
                "kind": {"group": "g", "version": "v1", "kind": "Thing"},
                "resource": {"group": "g", "version": "v1", "resource": "things"},
                "operation": "UPDATE",
                "name": "n",
                "namespace": "ns",
                "object": {"color": "red", "parts": {"a": "b"}, "unknown": [1, {"deep": None}]},
                "oldObject": {"color": "blue"},
                "dryRun": True,
                "userInfo": {"username": "jo", "groups": ["x"], "extra": {"a": ["b"]}},
                "options": {"kind": "UpdateOptions"},
            }
        )
    )
    assert (request.uid, request.operation, request.name, request.namespace) == ("u-1", Operation.UPDATE, "n", "ns")
    assert request.object == Thing("red", {"a": "b"})
    assert request.old_object == Thing("blue")
    assert request.is_dry_run
    assert request.user_info.username == "jo"
    assert request.kind.kind == "Thing"


def test_absent_and_null_fields_are_equal() -> None:
    """A null object is decoded like an absent one, and an absent dryRun is false."""
    bare = DECODER.decode(review({"uid": "u", "operation": "DELETE", "object": None, "oldObject": {}}))
    assert bare.object is None
    assert bare.old_object == Thing()
    assert not bare.is_dry_run


MALFORMED = {
    "empty": (b"", "not JSON"),
    "not JSON": (b"{", "not JSON"),
    "cut off": (review({"uid": "u", "operation": "CREATE"})[:-5], "not JSON"),
    "a list": (b"[]", "Expected `object`"),
    "null": (b"null", "Expected `object`"),
    "other version": (review({"uid": "u", "operation": "CREATE"}, apiVersion="admission.k8s.io/v1beta1"), "no other"),
    "other kind": (review({"uid": "u", "operation": "CREATE"}, kind="Review"), "no other version"),
    "no request": (review(None), "no request"),
    "no uid": (review({"operation": "CREATE"}), "`uid`"),
    "empty uid": (review({"uid": "", "operation": "CREATE"}), "no uid"),
    "no operation": (review({"uid": "u"}), "`operation`"),
    "other operation": (review({"uid": "u", "operation": "EXPLODE"}), "$.request.operation"),
    "object is text": (review({"uid": "u", "operation": "CREATE", "object": "hush"}), "$.request.object"),
    "field of wrong type": (review({"uid": "u", "operation": "CREATE", "object": {"color": 7}}), "object.color"),
    "not UTF-8": (review({"uid": "u", "operation": "CREATE"}).replace(b'"u"', b'"\xff"'), "not UTF-8"),
    "half a surrogate": (review({"uid": "u", "operation": "CREATE"}).replace(b'"u"', b'"\\ud800"'), "not JSON"),
    "too deep": (
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","x":' + b"[" * 100_000,
        "nested too deeply",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_review_is_rejected_with_its_own_message(name: str) -> None:
    """Each kind of malformed review raises MalformedReviewError with its own message."""
    body, message = MALFORMED[name]
    with pytest.raises(MalformedReviewError) as caught:
        DECODER.decode(body)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "request_",
    [
        {"uid": "u", "operation": "hush-hush"},
        {"uid": "u", "operation": "CREATE", "object": {"color": ["hush-hush"]}},
        {"uid": "u", "operation": "CREATE", "object": {"parts": {"hush-hush": 1}}},
        {"uid": {"hush-hush": 1}, "operation": "CREATE"},
    ],
)
def test_the_error_message_has_no_value(request_: dict[str, Any]) -> None:
    """The error message says where the review is wrong and has no value of it, which can be a Secret."""
    with pytest.raises(MalformedReviewError) as caught:
        DECODER.decode(review(request_))
    assert "hush-hush" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=64) | json_values.map(review))
@example(b'"\\ud800"')
def test_any_input_gives_a_request_or_a_malformed_review_error(body: bytes) -> None:
    """Any bytes are decoded to a request or raise MalformedReviewError."""
    try:
        request = DECODER.decode(body)
    except MalformedReviewError:
        return
    assert isinstance(request, AdmissionRequest)


@given(json_values)
def test_unknown_fields_are_ignored(extra: Any) -> None:
    """A field that is not declared makes no difference, whatever its value."""
    request = {"uid": "u", "operation": "CREATE", "object": {"color": "red"}}
    plain = DECODER.decode(review(request))
    assert DECODER.decode(review(request | {"extra": extra, "object": {"color": "red", "more": extra}})) == plain
