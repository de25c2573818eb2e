"""Decoding of runs: whatever else a run contains, its identity is read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import OrchestrationRun

ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def read(document: dict[str, Any]) -> OrchestrationRun:
    """Decode a run as the API server writes it."""
    return msgspec.json.decode(json.dumps(document).encode(), type=OrchestrationRun)


def stored(**changes: Any) -> dict[str, Any]:
    """Return a run of delivery d-1, with some fields replaced."""
    document: dict[str, Any] = {
        "metadata": {"name": "r", "namespace": "ns", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"orchestrationRef": {"name": "build"}, "deliveryId": "d-1", "parameters": {"a": "b"}},
        "status": {"phase": "Running", "runId": "r-1"},
    }
    return document | changes


def test_a_usual_run_is_read() -> None:
    """Every field that is needed is read."""
    run = read(stored())
    assert run.key() == DeliveryKey("ns", "build", "d-1")
    assert (run.name, run.uid, run.phase, run.run_id, run.created_at) == ("r", "u", "Running", "r-1", 1767323045)
    assert json.loads(run.parameters) == {"a": "b"}


@given(ODD)
def test_an_odd_status_hides_no_run(status: Any) -> None:
    """Whatever an orchestrator writes as the status, the run belongs to its delivery."""
    assert read(stored(status=status)).key() == DeliveryKey("ns", "build", "d-1")
    run = read(stored(status={"phase": status, "runId": status}))
    assert run.key() == DeliveryKey("ns", "build", "d-1")
    assert run.phase == (status if isinstance(status, str) else "")
    assert run.run_id == run.phase


@given(ODD.filter(lambda value: not isinstance(value, str)))
def test_an_id_that_is_not_a_string_does_not_count(delivery_id: Any) -> None:
    """The condition in the webhook configuration requires a string too."""
    assert read(stored(spec={"deliveryId": delivery_id})).delivery_id is None


@given(ODD)
def test_an_odd_spec_can_be_decoded(spec: Any) -> None:
    """A run whose spec is not an object has no delivery, and decoding it raises nothing."""
    run = read(stored(spec=spec))
    assert run.key() is None or isinstance(spec, dict)


@pytest.mark.parametrize(
    ("reference", "ref"),
    [
        (None, ""),
        ("build", ""),
        ([1], ""),
        ({}, ""),
        ({"name": None}, ""),
        ({"name": 5}, "5"),
        ({"name": {"a": [1]}}, '{"a":[1]}'),
    ],
)
def test_an_odd_reference_counts_as_its_json(reference: Any, ref: str) -> None:
    """Two runs with different odd references are different deliveries."""
    assert read(stored(spec={"orchestrationRef": reference, "deliveryId": "d"})).key() == DeliveryKey("ns", ref, "d")


def test_everything_may_be_absent() -> None:
    """An empty object is a run with default values."""
    run = read({})
    assert (run.name, run.generate_name, run.namespace, run.uid, run.created_at) == ("", "", "", "", 0)
    assert (run.ref, run.delivery_id, run.parameters, run.phase, run.run_id, run.key()) == ("", None, b"", "", "", None)


def test_the_zero_time_is_unknown() -> None:
    """The zero time of Go is not a time of creation."""
    assert read({"metadata": {"creationTimestamp": "0001-01-01T00:00:00Z"}}).created_at == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"metadata":null,"spec":null,"status":null}',
        b'{"metadata":{},"spec":{"orchestrationRef":null},"status":{}}',
    ],
)
def test_every_level_may_be_absent(body: bytes) -> None:
    """Every level may be absent or null."""
    run = msgspec.json.decode(body, type=OrchestrationRun)
    assert (run.name, run.generate_name, run.namespace, run.uid, run.ref, run.phase, run.run_id) == ("",) * 7
    assert (run.delivery_id, run.created_at, run.parameters, run.key("shop")) == (None, 0, b"", None)
