"""Texts that others wrote, before they are shown in a terminal, a log, an audit log or a header."""

from __future__ import annotations


def escaped(text: str) -> str:
    """Return a text with everything that does not print written as an escape.

    Control characters could move a cursor, forge a line, or hide what follows.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
