"""Texts that others wrote, before they are shown: in a terminal, a log, an audit log or a header."""

from __future__ import annotations

#: The usual length of a name or id in a message.
SHOWN = 128


def shown(text: str, limit: int = SHOWN) -> str:
    """Return a text with everything escaped that does not print, and cut to a length.

    Args:
        text: What somebody else wrote, such as an id or a phase. Its control characters could move a cursor, forge a
            line, or hide what follows.
        limit: The most characters that are returned.
    """
    # Cut first, so that the cost does not depend on the length; what is escaped becomes longer.
    part = text[:limit]
    if not part.isprintable():
        part = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in part)
    return part if len(text) <= limit and len(part) <= limit else part[: limit - 1] + "…"
