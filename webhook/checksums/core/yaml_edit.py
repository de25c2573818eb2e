"""Add annotations to YAML (or JSON) text without changing any other character.

The text is parsed for positions only, and new lines are inserted there, which end as the others do. The result is
parsed to check it. If it is not what it should be (because of aliases, merge keys and other rare forms), the document
is serialized again instead, which loses its comments but never changes its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from webhook.errors import InputError

Tree: TypeAlias = Any

#: libyaml if it was compiled in: ten times as fast, with the same positions.
_BaseLoader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Scalars that PyYAML converts and Kubernetes does not: dates, and a single `=`.
_NOT_SPECIAL: Final = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
#: Parses plain scalars as Kubernetes does.
Loader: Final[Any] = type(
    "Loader",
    (_BaseLoader,),
    {
        "yaml_implicit_resolvers": {
            first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_SPECIAL]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }
    },
)
_STR: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"


class _CannotEditError(InputError):
    """The text has a form in which nothing can be inserted."""


@dataclass(frozen=True, slots=True)
class Addition:
    """Entries to add to a map of strings, or to replace in it.

    Attributes:
        path: The path from the document's root to the map: names, and numbers for items of a list. Maps that are
            absent or null are created.
        entries: The entries.
    """

    path: tuple[str | int, ...]
    entries: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def edit(text: str, root: yaml.Node, tree: Tree, additions: Sequence[Addition]) -> str:
    """Add entries to one document.

    Args:
        text: The document, from the start of a line.
        root: Its node; positions count from the start of the text.
        tree: Its value.
        additions: What to add; entries that exist with the same value are not touched.

    Returns:
        The new document, which parses to the old value with the additions.
    """
    expected = unshared(tree)
    for addition in additions:
        _put(expected, addition)
    if expected == tree:
        return text
    line_break = _line_break(text)
    try:
        edits = [piece for addition in additions for piece in _edits(root, addition)]
        changed = _apply(text, edits, line_break)
        if yaml.load(changed, Loader) == expected:  # noqa: S506 - it is a safe loader
            return changed
    except (_CannotEditError, yaml.YAMLError):
        pass
    dumped: str = yaml.safe_dump(expected, sort_keys=False, allow_unicode=True, width=2**20, line_break=line_break)
    return f"---{line_break}{dumped}" if text.startswith("---") else dumped


def unshared(tree: Tree) -> Tree:
    """Return a copy of a value in which no object occurs twice, as it does where the text has aliases."""
    if isinstance(tree, dict):
        return {key: unshared(value) for key, value in tree.items()}
    return [unshared(value) for value in tree] if isinstance(tree, list) else tree


def child(node: yaml.Node, name: str | int) -> yaml.Node | None:
    """Return the value of a map under a name, or of a list at an index; None if it has none of its own."""
    if isinstance(node, yaml.SequenceNode):
        return node.value[name] if isinstance(name, int) and name < len(node.value) else None
    entries = node.value if isinstance(node, yaml.MappingNode) else ()
    found = [value for key, value in entries if key.tag == _STR and key.value == name]
    return found[-1] if found else None


def _line_break(text: str) -> str:
    """Return the line break of a text, by its first line; CRLF is what editors on Windows write."""
    first, newline, _ = text.partition("\n")
    return "\r\n" if newline and first.endswith("\r") else "\n"


def _put(tree: Tree, addition: Addition) -> None:
    for name in addition.path:
        if isinstance(tree, dict) and tree.get(name) is None:
            tree[name] = {}
        tree = tree[name]
    tree.update(addition.entries)


def _apply(text: str, edits: Iterable[_Edit], line_break: str) -> str:
    # From the end, so that the positions of earlier edits stay valid.
    for piece in sorted(edits, key=lambda piece: piece.start, reverse=True):
        text = text[: piece.start] + piece.text.replace("\n", line_break) + text[piece.end :]
    return text


def _edits(root: yaml.Node, addition: Addition) -> list[_Edit]:
    node = root
    for depth, name in enumerate(addition.path):
        below = child(node, name)
        if below is None or below.tag == _NULL:
            rest: Tree = dict(addition.entries)
            for token in reversed(addition.path[depth + 1 :]):
                rest = {token: rest}
            return [_insertion(node, {name: rest}) if below is None else _replacement(below, rest)]
        node = below
    present = {name: child(node, name) for name in addition.entries}
    replaced = [
        _replacement(value, addition.entries[name])
        for name, value in present.items()
        if value is not None and value.value != addition.entries[name]
    ]
    missing = {name: value for name, value in addition.entries.items() if present[name] is None}
    return [*replaced, _insertion(node, missing)] if missing else replaced


def _replacement(node: yaml.Node, value: Tree) -> _Edit:
    if not isinstance(node, yaml.ScalarNode) or node.style in {"|", ">"}:
        raise _CannotEditError
    start, end = node.start_mark.index, node.end_mark.index
    # An absent value after a colon has no characters, not even the blank that is needed there.
    return _Edit(start, end, (" " if start == end else "") + json.dumps(value))


def _insertion(node: yaml.Node, entries: Mapping[Any, Tree]) -> _Edit:
    if not isinstance(node, yaml.MappingNode):
        raise _CannotEditError
    if node.flow_style:
        # After the brace, before the first entry.
        text = json.dumps(entries)[1:-1] + (", " if node.value else "")
        return _Edit(node.start_mark.index + 1, node.start_mark.index + 1, text)
    first = node.value[0][0].start_mark
    indent = " " * first.column
    lines = _block(entries)
    text = "".join(f"{line}\n{indent}" for line in lines)
    return _Edit(first.index, first.index, text)


def _block(entries: Mapping[Any, Tree]) -> list[str]:
    lines: list[str] = []
    for name, value in entries.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {line}" for line in _block(value))]
        else:
            # Always quoted: hexadecimal digits can look like a number.
            lines.append(f"{name}: {json.dumps(value)}")
    return lines
