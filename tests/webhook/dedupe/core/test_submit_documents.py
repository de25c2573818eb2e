"""The documents of `rollonce submit`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.objects import run
from webhook.dedupe.core.run import ORCHESTRATION_RUNS
from webhook.dedupe.core.submit_documents import RunDocument, read_documents
from webhook.errors import ConfigurationError

HEADER = "apiVersion: orchestration.proompteng.ai/v1alpha1\nkind: OrchestrationRun\n"
NAMED = HEADER + "metadata: {name: a}\n"


def read(text: str, namespace: str = "") -> list[RunDocument]:
    """Return the documents of a file."""
    return read_documents(text, source="run.yaml", resource=ORCHESTRATION_RUNS, namespace=namespace)


def body(text: str) -> Any:
    """Return what is sent for one document."""
    (document,) = read(text)
    return json.loads(document.body)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T13:00:00Z", "2026-01-31T13:00:00Z"),
        ("12:30:45", "12:30:45"),
        ("1:30.5", "1:30.5"),
        ("=", "="),
        ("1.5", 1.5),
        ("0x10", 16),
        ("true", True),
        ("~", None),
        ("'7'", "7"),
    ],
)
def test_scalars_are_read_as_kubernetes_reads_them(text: str, value: object) -> None:
    """A date or a time stays the text that it is; a deliveryId may look like one."""
    assert body(f"{NAMED}spec: {{parameters: {{a: {text}}}}}")["spec"]["parameters"]["a"] == value


def test_several_documents_are_named_by_their_number() -> None:
    """Empty documents are skipped, and count."""
    first, second = read(f"---\n---\n{NAMED}---\n# nothing\n---\n{NAMED}")
    assert (first.title, second.title) == (
        'document 2 of run.yaml (OrchestrationRun "a")',
        'document 4 of run.yaml (OrchestrationRun "a")',
    )


def test_json_is_read_one_after_another() -> None:
    """Tabs, escaped pairs of surrogates, and several objects without a separator are JSON."""
    text = json.dumps(run("\U0001f600", name="a"), indent="\t")
    first, second = read(f"\ufeff{text}\n{text}")
    assert (first.run.delivery_id, second.run.delivery_id) == ("\U0001f600", "\U0001f600")


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    )
)
def test_json_is_sent_as_it_was_read(parameters: dict[str, Any]) -> None:
    """Whatever the parameters are, the body has the same."""
    manifest = run("d", name="a")
    manifest["spec"]["parameters"] = parameters
    assert body(json.dumps(manifest)) == manifest


def test_anchors_and_merge_keys_are_resolved() -> None:
    """What a YAML file repeats by reference is sent in full, and a merged key may be given again."""
    text = f"{NAMED}spec: {{deliveryId: d, parameters: {{<<: &x {{a: '1', b: '1'}}, b: '2'}}, other: *x}}"
    assert body(text)["spec"] == {
        "deliveryId": "d",
        "parameters": {"a": "1", "b": "2"},
        "other": {"a": "1", "b": "1"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "run.yaml has no OrchestrationRun"),
        ("---\n---\n", "run.yaml has no OrchestrationRun"),
        ("a: [b", "run.yaml is not YAML at line 1, column 6: "),
        ("a: b\n\tc: d", "run.yaml is not YAML at line 2"),
        ("a: !!python/object:os.system {}", "run.yaml is not YAML at line 1"),
        ("\x00", "run.yaml is not YAML"),
        ("[" * 2000, "run.yaml is not YAML"),
        ('{"a":' * 100_000, "run.yaml is nested too deep"),
        ("just text", "run.yaml is not a Kubernetes object"),
        (f"{NAMED}---\nkind: Job\nmetadata: {{name: x}}", 'document 2 of run.yaml (Job "x") cannot be submitted'),
        ("kind: OrchestrationRun\napiVersion: other/v1", "only OrchestrationRun of orchestration.proompteng.ai/v1"),
        (f"{NAMED}spec: {{a: .nan}}", "nan is not a number that JSON has"),
        (f"{NAMED}spec: {{a: !!binary aGk=}}", "a value of the type bytes"),
        (f"{NAMED}spec: {{1: a}}", "the key 1 is not text: put it in quotes"),
        (f"{NAMED}spec: {{deliveryId: a, deliveryId: b}}", "the key 'deliveryId' is given twice"),
        ('{"kind": "a", "kind": "b"}', "run.yaml: the key 'kind' is given twice"),
        (f"{NAMED}spec: &x {{a: *x}}", "it has too many values"),
        (f'{NAMED}spec: {{a: "\\ud800"}}', "is not a valid object"),
        (f"{HEADER}metadata: {{name: 7}}", "is not a valid object"),
        (f"{NAMED}spec: {{deliveryId: 7}}", "spec.deliveryId is not text: put it in quotes"),
        (HEADER, "has neither metadata.name nor metadata.generateName"),
        (f"{HEADER}metadata: {{generateName: a-}}", "needs a spec.deliveryId, or a metadata.name"),
        (f"{HEADER}metadata: {{generateName: a-}}\nspec: {{deliveryId: ' '}}", "needs a spec.deliveryId"),
        (f"{HEADER}metadata: {{name: a, namespace: ../b}}", "metadata.namespace '../b'"),
    ],
)
def test_what_cannot_be_submitted_is_named_in_one_line(text: str, message: str) -> None:
    """The message names the document, and what is wrong."""
    with pytest.raises(ConfigurationError) as raised:
        read(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_of_its_own_needs_no_delivery_id() -> None:
    """The API server recognizes a second create by the name; by a prefix only the webhook does."""
    named, generated = read(f"{NAMED}---\n{HEADER}metadata: {{generateName: a-}}\nspec: {{deliveryId: d}}")
    assert (named.needs_webhook, generated.needs_webhook) == (False, True)


def test_the_namespace_is_that_of_the_document_or_of_the_command_line() -> None:
    """If both name one, they must agree."""
    text = f"{HEADER}metadata: {{name: a, namespace: shop}}\n"
    assert [one.namespace for one in (*read(NAMED), *read(NAMED, "lab"), *read(text), *read(text, "shop"))] == [
        "",
        "lab",
        "shop",
        "shop",
    ]
    with pytest.raises(ConfigurationError, match="names the namespace shop, and not lab"):
        read(text, "lab")


def test_a_stored_run_is_compared_by_delivery_and_orchestration() -> None:
    """The name alone does not make a run that of a delivery."""
    (asked,) = read(json.dumps(run("d", name="a")))
    for stored, same in (
        (run("d", name="b", parameters={"a": "b"}), True),
        (run("e", name="a"), False),
        (run(None, name="a"), False),
        (run("d", name="a", ref="other"), False),
    ):
        assert asked.is_same_delivery(read(json.dumps(stored))[0].run) is same
