"""The label by which the runs of a delivery are found: a deliveryId made into a legal label value."""

from __future__ import annotations

import hashlib
import re
from typing import Final

LABEL: Final = "jangar.proompteng.ai/delivery-id"

#: Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_LEGAL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_ILLEGAL_RUN: Final = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_ENDS: Final = "_.-"
_STEM_LENGTH: Final = 50
_HASH_LENGTH: Final = 12


def label_value(delivery_id: str) -> str:
    """Make a label value of a deliveryId.

    Two ids can share a value (`a` and ` a` do), so whoever finds a run by its label compares `spec.deliveryId` too.

    Args:
        delivery_id: As it is in the object, not blank.

    Returns:
        The trimmed id where that is a legal label value, otherwise `<stem>-<first 12 hex of the SHA-256 of the
        untrimmed id>`; at most 63 characters.
    """
    trimmed = delivery_id.strip()
    if _LEGAL.fullmatch(trimmed):
        return trimmed
    stem = _ILLEGAL_RUN.sub("-", trimmed).strip(_ENDS)[:_STEM_LENGTH].strip(_ENDS) or "delivery"
    return f"{stem}-{hashlib.sha256(delivery_id.encode()).hexdigest()[:_HASH_LENGTH]}"
