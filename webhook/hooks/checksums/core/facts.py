"""What was found out about a source before deciding, and the rules that the operator decides by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Found:
    """It exists.

    Attributes:
        checksum: Of its current contents.
    """

    checksum: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The API server says that it does not exist."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Nobody knows: forbidden, too slow, or the API server has trouble. That is not the same as absent.

    Attributes:
        why: A few words without any contents, such as `HTTP 403`.
    """

    why: str


Reading: TypeAlias = Found | Absent | Unreadable


class MissingPolicy(Enum):
    """What happens to a write that needs an object which does not exist."""

    WARN = "warn"
    DENY = "deny"
    HOLD = "hold"


class Occasion(Enum):
    """What a decision is made for: a client's write, or the controller's look at what is stored."""

    CREATE = "create"
    UPDATE = "update"
    RECONCILE = "reconcile"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator has chosen.

    Attributes:
        missing: For required objects that do not exist.
        staged: Whether workloads roll a few at a time; then only the controller says whose turn it is.
    """

    missing: MissingPolicy = MissingPolicy.WARN
    staged: bool = False
