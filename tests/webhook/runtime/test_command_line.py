"""Output of commands that is written to a pipe or a file: one line a row, with full names."""

from __future__ import annotations

import pytest
from rich.table import Table
from rich.tree import Tree

from webhook.runtime.command_line import cell, console

LONG = "a" * 253
MANY = ", ".join(f"secret/{'b' * 253}-{number} stale" for number in range(100))


def test_a_row_is_one_line_with_full_names(capsys: pytest.CaptureFixture[str]) -> None:
    """However long the names and however many, and without blanks at the end of short rows."""
    table = Table(box=None, pad_edge=False)
    for heading in ("NAMESPACE", "WORKLOAD", "WHY"):
        table.add_column(heading, overflow="fold")
    table.add_row("shop", LONG, MANY)
    table.add_row("shop", "web", "")
    console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["NAMESPACE", "WORKLOAD", "WHY"],
        ["shop", LONG, *MANY.split()],
        ["shop", "web"],
    ]
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_line_of_a_tree_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A long problem is not wrapped, and not coloured."""
    tree = Tree("certificates")
    tree.add(f"[red]{'word ' * 500}[/]end")
    console().print(tree)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("word end")
    assert "\x1b" not in lines[1]


def test_a_cell_shows_control_characters_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """A deliveryId may contain any character; none of them may make a second line, or reach the terminal."""
    table = Table(box=None, pad_edge=False)
    table.add_column("DELIVERY")
    table.add_row(cell("one\ntwo\t\x1b[31m\u2028é [bold]"))
    console().print(table)
    assert capsys.readouterr().out.splitlines() == ["DELIVERY", "one\\ntwo\\t\\x1b[31m\\u2028é [bold]"]
