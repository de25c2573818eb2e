"""The table of the chart's values, from comments in the format of helm-docs (`# -- text` above a key)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_LINE = re.compile(r"^(?P<indent> *)(?:#(?P<comment>.*)|(?P<key>[\w]+):(?P<rest>.*))$")
_TITLE = "<!-- values -->"


def documented(text: str) -> Iterator[tuple[str, str, Any]]:
    """Yield path, description and default of each value that has a comment."""
    defaults = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found:
            comment = []
        elif found["comment"] is not None:
            words = found["comment"].strip()
            comment = [words.removeprefix("-- ")] if words.startswith("-- ") else comment and [*comment, words]
        else:
            path = [(indent, key) for indent, key in path if indent < len(found["indent"])]
            path.append((len(found["indent"]), found["key"]))
            if comment:
                keys = [key for _, key in path]
                default = defaults
                for key in keys:
                    default = default[key]
                yield ".".join(keys), " ".join(comment), default
            comment = []


def with_table(readme: Path, values: Path) -> str:
    """Return a README with the table of all values behind its marker."""
    before, marker, after = readme.read_text(encoding="utf-8").partition(_TITLE)
    _, rest = after.split("\n\n## ", 1)
    rows = "".join(
        f"| `{path}` | `{json.dumps(default)}` | {text} |\n"
        for path, text, default in documented(values.read_text(encoding="utf-8"))
    )
    return f"{before}{marker}\n| value | default | meaning |\n|---|---|---|\n{rows}\n## {rest}"
