"""Texts that others wrote, cut to a length that suits a message."""

from __future__ import annotations

from webhook.runtime.text import escaped

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
    part = escaped(text[:limit])
    return part if len(text) <= limit and len(part) <= limit else part[: limit - 1] + "…"
