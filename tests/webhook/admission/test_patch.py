"""Laws of JSON Patch making, checked with jsonpatch as the independent reader."""

from __future__ import annotations

import json
from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from webhook.admission.patch import Add, Remove, Replace, annotation_operations, encode, pointer

maps = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=6)
PATH = ("spec", "template", "metadata", "annotations")


def apply(document: dict[str, Any], operations: tuple[Add | Replace | Remove, ...]) -> dict[str, Any]:
    """Apply operations as the API server would."""
    result: dict[str, Any] = jsonpatch.apply_patch(document, encode(operations).decode())
    return result


def nested(leaf: dict[str, Any]) -> dict[str, Any]:
    """Put a map where a pod template has its annotations."""
    return {"spec": {"template": {"metadata": leaf}}}


@given(maps, maps)
def test_turns_one_map_into_the_other(current: dict[str, str], wanted: dict[str, str]) -> None:
    """Whatever the keys hold, slashes and tildes included, the patched map is the wanted one."""
    operations = annotation_operations(PATH, current, wanted)
    assert apply(nested({"annotations": current}), operations) == nested({"annotations": wanted})


@given(maps, maps)
def test_is_minimal(current: dict[str, str], wanted: dict[str, str]) -> None:
    """One operation for each key that differs, and none for a key that does not."""
    operations = annotation_operations(PATH, current, wanted)
    differing = {key for key in current.keys() | wanted.keys() if current.get(key) != wanted.get(key)}
    assert len(operations) == len(differing)


@given(maps)
def test_nothing_to_do_is_nothing(current: dict[str, str]) -> None:
    """A map that is right already is not patched."""
    assert annotation_operations(PATH, current, dict(current)) == ()


def test_an_absent_map_is_added_whole() -> None:
    """A template without annotations gets the map itself, and none at all for an empty one."""
    operations = annotation_operations(PATH, None, {"b": "2", "a": "1"})
    assert operations == (Add("/spec/template/metadata/annotations", {"a": "1", "b": "2"}),)
    assert annotation_operations(PATH, None, {}) == ()


def test_missing_parents_are_made() -> None:
    """A template without metadata gets it first."""
    operations = annotation_operations(PATH, None, {"a": "1"}, parents_exist=2)
    document = apply({"spec": {"template": {}}}, operations)
    assert document == {"spec": {"template": {"metadata": {"annotations": {"a": "1"}}}}}
    assert len(operations) == 2


def test_a_null_map_is_replaced() -> None:
    """Null is as good as absent: adding the member replaces it (RFC 6902, 4.1)."""
    operations = annotation_operations(PATH, None, {"a": "1"})
    assert apply(nested({"annotations": None}), operations) == nested({"annotations": {"a": "1"}})


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_pointers_reach_their_token(tokens: list[str]) -> None:
    """A pointer of any tokens leads to where those tokens lead."""
    document: Any = "here"
    for token in reversed(tokens):
        document = {token: document}
    assert jsonpatch.JsonPointer(pointer(*tokens)).resolve(document) == "here"


def test_encodes_the_wire_form() -> None:
    """The document is a list of operations with op, path and, but for a removal, value."""
    document = json.loads(encode((Add("/a", "1"), Replace("/b", True), Remove("/c"))))
    assert document == [
        {"op": "add", "path": "/a", "value": "1"},
        {"op": "replace", "path": "/b", "value": True},
        {"op": "remove", "path": "/c"},
    ]
