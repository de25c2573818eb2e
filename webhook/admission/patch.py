"""JSON Patch (RFC 6902) operations and how they are written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec
from jsonpointer import escape

JsonValue: TypeAlias = "str | bool | int | dict[str, str] | None"


class Add(msgspec.Struct, frozen=True, tag_field="op", tag="add"):
    """Put a value at a path; its parent has to exist."""

    path: str
    value: JsonValue


class Replace(msgspec.Struct, frozen=True, tag_field="op", tag="replace"):
    """Put a value where there is one already."""

    path: str
    value: JsonValue


class Remove(msgspec.Struct, frozen=True, tag_field="op", tag="remove"):
    """Take away what is at a path; it has to exist."""

    path: str


PatchOperation: TypeAlias = Add | Replace | Remove


def pointer(*tokens: str) -> str:
    """Write a JSON Pointer (RFC 6901), each token escaped.

    Args:
        tokens: The names from the root down, as they are: `pointer("a/b", "c~d")` is `/a~1b/c~0d`.
    """
    return "".join("/" + escape(token) for token in tokens)


def encode(operations: Iterable[PatchOperation]) -> bytes:
    """Write operations as a JSON Patch document."""
    return msgspec.json.encode(list(operations))


def annotation_operations(
    parents: tuple[str, ...],
    current: dict[str, str] | None,
    wanted: dict[str, str],
    *,
    parents_exist: int | None = None,
) -> tuple[PatchOperation, ...]:
    """The fewest operations that turn a map of strings into another.

    Args:
        parents: The tokens of the path to the map, such as `("spec", "template", "metadata", "annotations")`.
        current: The map as it is; None if there is none at that path (absent or null).
        wanted: The map as it should be. Nothing is done if both are the same; an empty map that has become empty is
            left in place.
        parents_exist: How many of the tokens lead to something that exists; by default all, or all but the last if
            `current` is None. The missing ones are added, each as an empty object.

    Returns:
        Operations in a fixed order (removals first, then by key), so that equal input gives equal patches.
    """
    if (current or {}) == wanted:
        return ()
    if current is None:
        existing = len(parents) - 1 if parents_exist is None else parents_exist
        made = tuple(Add(pointer(*parents[:depth]), {}) for depth in range(existing + 1, len(parents)))
        return (*made, Add(pointer(*parents), dict(sorted(wanted.items()))))
    removed = tuple(Remove(pointer(*parents, key)) for key in sorted(current.keys() - wanted.keys()))
    changed = tuple(
        Replace(pointer(*parents, key), value) if key in current else Add(pointer(*parents, key), value)
        for key, value in sorted(wanted.items())
        if current.get(key) != value
    )
    return removed + changed
