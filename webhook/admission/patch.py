"""JSON Patch documents (RFC 6902): made from the difference of two documents, encoded, and applied for display."""

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


def pointer(*tokens: str) -> str:
    """Return a JSON Pointer (RFC 6901) with each token escaped.

    Args:
        tokens: The unescaped names from the root down: `pointer("a/b", "c~d")` is `/a~1b/c~0d`.
    """
    path: str = jsonpatch.JsonPointer.from_parts(tokens).path
    return path


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


def apply(document: Mapping[str, Any], operations: Iterable[PatchOperation]) -> dict[str, Any]:
    """Return a copy of a document with a patch applied, to show people what the patch does.

    Raises:
        jsonpatch.JsonPatchException: A path does not exist in the document.
    """
    patched: dict[str, Any] = jsonpatch.JsonPatch(msgspec.to_builtins(list(operations))).apply(document)
    return patched


def _operation(made: Mapping[str, Any]) -> PatchOperation:
    match made["op"]:
        case "add":
            return Add(made["path"], made["value"])
        case "replace":
            return Replace(made["path"], made["value"])
        case _:
            return Remove(made["path"])


def _order(operation: PatchOperation) -> tuple[bool, str]:
    return not isinstance(operation, Remove), operation.path


def _has_list(document: Any) -> bool:
    if isinstance(document, dict):
        return any(map(_has_list, document.values()))
    return isinstance(document, list)
