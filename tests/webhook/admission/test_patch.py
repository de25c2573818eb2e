"""Properties of JSON Patch, checked by applying the patches."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.admission.patch import Add, PatchOperation, Remove, Replace, _operation, diff, encode

maps = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(st.text(max_size=3), values, max_size=4)


def patched(document: dict[str, Any], operations: tuple[PatchOperation, ...]) -> dict[str, Any]:
    """Apply operations from their encoded form, as the API server does."""
    result: dict[str, Any] = jsonpatch.apply_patch(document, encode(operations).decode())
    return result


def nested(leaf: dict[str, Any]) -> dict[str, Any]:
    """Return a map nested at the path of a pod template's metadata."""
    return {"spec": {"template": {"metadata": leaf}}}


@given(maps, maps)
def test_a_patch_turns_one_map_into_the_other(current: dict[str, str], expected: dict[str, str]) -> None:
    """For any keys, also with slashes and tildes, the patched map equals the expected map."""
    before, after = nested({"annotations": current}), nested({"annotations": expected})
    assert patched(before, diff(before, after)) == after


@given(documents, documents)
def test_a_patch_turns_one_document_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    """For any documents with lists and nested maps, the encoded patch gives the second document."""
    operations = diff(before, after)
    # JSON has one kind of number and bool is an int in Python, so documents are compared as JSON.
    assert json.dumps(patched(before, operations), sort_keys=True) == json.dumps(after, sort_keys=True)


@given(maps, maps)
def test_a_patch_has_one_operation_per_difference(current: dict[str, str], expected: dict[str, str]) -> None:
    """Each key that differs has one operation, and each other key has none."""
    operations = diff(nested({"annotations": current}), nested({"annotations": expected}))
    differing = {key for key in current.keys() | expected.keys() if current.get(key) != expected.get(key)}
    assert len(operations) == len(differing)


@given(maps, maps)
def test_the_order_of_operations_is_fixed(current: dict[str, str], expected: dict[str, str]) -> None:
    """Removals come first, and operations of each group are sorted by path."""
    operations = diff(current, expected)
    order = [(not isinstance(operation, Remove), operation.path) for operation in operations]
    assert order == sorted(order)


@given(maps)
def test_equal_maps_give_an_empty_patch(current: dict[str, str]) -> None:
    """The patch between two equal maps has no operation."""
    assert diff(current, dict(current)) == ()


def test_an_absent_map_is_added_by_one_operation() -> None:
    """If a template has no annotations, one operation adds the whole map."""
    operations = diff(nested({}), nested({"annotations": {"b": "2", "a": "1"}}))
    assert operations == (Add("/spec/template/metadata/annotations", {"a": "1", "b": "2"}),)


def test_a_missing_parent_is_added_with_its_contents() -> None:
    """If a template has no metadata, one operation adds the metadata with the annotations."""
    before: dict[str, Any] = {"spec": {"template": {}}}
    operations = diff(before, nested({"annotations": {"a": "1"}}))
    assert patched(before, operations) == {"spec": {"template": {"metadata": {"annotations": {"a": "1"}}}}}
    assert len(operations) == 1


def test_a_null_map_is_replaced() -> None:
    """A null map is patched like an absent one: `add` replaces the null (RFC 6902, 4.1)."""
    operations = diff(nested({}), nested({"annotations": {"a": "1"}}))
    assert patched(nested({"annotations": None}), operations) == nested({"annotations": {"a": "1"}})


def test_a_list_element_is_appended() -> None:
    """A new element at the end of a list is added by one operation, as for an injected container."""
    before = {"spec": {"containers": [{"name": "app"}]}}
    after = {"spec": {"containers": [{"name": "app"}, {"name": "proxy", "env": [{"name": "A", "value": "1"}]}]}}
    operations = diff(before, after)
    assert operations == (Add("/spec/containers/1", {"name": "proxy", "env": [{"name": "A", "value": "1"}]}),)
    assert patched(before, operations) == after


def test_another_operation_is_an_error() -> None:
    """A `move`, which old versions of the library make in any case, must not be taken for a removal."""
    with pytest.raises(ValueError, match="'move'"):
        _operation({"op": "move", "from": "/a", "path": "/b"})


def test_a_value_that_changes_its_key_is_written_anew() -> None:
    """There is no `move`: the patch shows each value that is written."""
    assert diff({"a": "1"}, {"b": "1"}) == (Remove("/a"), Add("/b", "1"))


def test_encode_writes_json_patch() -> None:
    """The document is a list of operations with op, path and, except for a removal, value."""
    document = json.loads(encode((Add("/a", "1"), Replace("/b", True), Remove("/c"))))
    assert document == [
        {"op": "add", "path": "/a", "value": "1"},
        {"op": "replace", "path": "/b", "value": True},
        {"op": "remove", "path": "/c"},
    ]
