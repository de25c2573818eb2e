"""The changes of the mutating webhook."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.dedupe.conftest import Replica, soon
from webhook.admission.patch import encode
from webhook.admission.review import AdmissionRequest, Operation
from webhook.dedupe.core.identity import LABEL
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.handlers import run_patch

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
OBJECTS = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {}, optional={"deliveryId": st.none() | TEXT, "orchestrationRef": st.just({"name": "n"})}
        )
    },
    optional={
        "metadata": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "name": st.none() | st.just("") | st.just("by-hand"),
                "generateName": st.none() | st.just("nightly-"),
                "labels": st.none() | st.dictionaries(st.sampled_from(["app", LABEL]), TEXT),
            },
        )
    },
)


def mutate(manifest: dict[str, Any]) -> dict[str, Any]:
    """Apply the patch that the webhook returns."""
    run = msgspec.json.decode(json.dumps(manifest), type=OrchestrationRun)
    result: dict[str, Any] = jsonpatch.apply_patch(manifest, encode(run_patch(run)).decode())
    return result


def manifest(**metadata: object) -> dict[str, Any]:
    """Return a run as a client writes it."""
    return {"metadata": metadata, "spec": {"orchestrationRef": {"name": "nightly"}, "deliveryId": "d-1"}}


@given(OBJECTS)
def test_a_second_mutation_changes_nothing(given_object: dict[str, Any]) -> None:
    """Mutating twice gives the same as once, whatever the object lacks; without deliveryId nothing changes."""
    once = mutate(given_object)
    assert mutate(once) == once
    if not (given_object["spec"].get("deliveryId") or "").strip():
        assert once == given_object


def test_a_run_without_a_name_is_named_after_its_delivery() -> None:
    """The generated name replaces generateName, and the label is added to the others."""
    changed = mutate(manifest(generateName="nightly-", labels={"app": "x"}))
    assert changed["metadata"] == {"name": "nightly-05adf3cee602a514", "labels": {"app": "x", LABEL: "d-1"}}


def test_a_name_of_its_own_is_kept() -> None:
    """A run that has a name keeps it, and only the label is set."""
    changed = mutate(manifest(name="by-hand", generateName="nightly-"))
    assert changed["metadata"] == {"name": "by-hand", "generateName": "nightly-", "labels": {LABEL: "d-1"}}


def test_a_wrong_label_is_replaced() -> None:
    """A label that a client has set to another value is replaced, because runs are found by it."""
    assert mutate(manifest(name="a", labels={LABEL: "other"}))["metadata"]["labels"] == {LABEL: "d-1"}


@pytest.mark.parametrize(("operation", "changes"), [(Operation.CREATE, 1), (Operation.UPDATE, 0)])
async def test_only_creates_are_changed(replica: Replica, operation: Operation, changes: int) -> None:
    """A create is changed, also in a dry run; an update never."""
    run = msgspec.json.decode(json.dumps(manifest(name="a")), type=OrchestrationRun)
    request = AdmissionRequest(uid="1", operation=operation, object=run, dry_run=True)
    decision = await replica.handlers.mutate(request, soon())
    assert decision.allowed
    assert len(decision.operations) == changes
