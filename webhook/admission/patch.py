"""JSON Patch documents (RFC 6902): made from the difference of two documents, and encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import jsonpatch
import msgspec

#: Any JSON value; lists and objects nest.
JsonValue: TypeAlias = "str | bool | int | float | list[JsonValue] | dict[str, JsonValue] | None"


class Add(msgspec.Struct, frozen=True, tag_field="op", tag="add"):
    """Set a value at a path whose parent exists, or insert it into a list."""

    path: str
    value: JsonValue


class Replace(msgspec.Struct, frozen=True, tag_field="op", tag="replace"):
    """Set a value at a path that exists."""

    path: str
    value: JsonValue


class Remove(msgspec.Struct, frozen=True, tag_field="op", tag="remove"):
    """Remove the value at a path that exists."""

    path: str


PatchOperation: TypeAlias = Add | Replace | Remove


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[PatchOperation, ...]:
    """Return the fewest operations that turn one document into the other.

    Both documents hold only the fields that may be patched, nested as they are in the object. A parent that is absent
    in `before` is added together with its contents.

    Args:
        before: The document as it is; leave out fields whose value is null, since adding them replaces the null.
        after: The document as it should be.

    Returns:
        Operations in a fixed order (removals first, then by path) unless the documents have lists, so that equal input
        gives equal patches. There is no `move` or `copy`: a reader of the patch sees each value that is written.
    """
    # As JSON, because True == 1 in Python. Equal documents are the usual case.
    if msgspec.json.encode(before) == msgspec.json.encode(after):
        return ()
    made = tuple(map(_operation, jsonpatch.JsonPatch.from_diff(before, after, optimization=False).patch))
    # The library iterates over sets, so the order of operations is random. Those within a list depend on each other.
    return made if _has_list(before) else tuple(sorted(made, key=_order))


def encode(operations: Iterable[PatchOperation]) -> bytes:
    """Return the operations as a JSON Patch document."""
    return msgspec.json.encode(list(operations))


def _operation(made: Mapping[str, Any]) -> PatchOperation:
    match made["op"]:
        case "add":
            return Add(made["path"], made["value"])
        case "replace":
            return Replace(made["path"], made["value"])
        case "remove":
            return Remove(made["path"])
        case other:
            # Such as `move`, which some versions of the library make whatever the options say.
            raise ValueError(f"the operation {other!r} has no meaning here")


def _order(operation: PatchOperation) -> tuple[bool, str]:
    return not isinstance(operation, Remove), operation.path


def _has_list(document: Any) -> bool:
    if isinstance(document, dict):
        return any(map(_has_list, document.values()))
    return isinstance(document, list)
