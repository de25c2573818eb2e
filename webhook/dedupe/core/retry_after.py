"""When a client that was refused for now should try again: ten attempts, as kubectl makes them, have to be enough."""

from __future__ import annotations

import math
from typing import Final

#: The shortest pause, in seconds.
SHORTEST: Final = 5
#: The pause while only an operator can help.
UNPROVED: Final = 60
_LONGEST_OUTAGE: Final = 300


def for_lease(left: float, lease: float) -> int:
    """Return the pause after a loss of records: the end of the lease, but at least twice in it, since it can end early.

    Args:
        left: Seconds until its end.
        lease: Its length in seconds.
    """
    return max(SHORTEST, min(math.ceil(left) + 1, math.ceil(lease / 2)))


def for_reservation(left: float, lease: float) -> int:
    """Return the pause while another create may be stored: an eighth of the lease, since most are stored soon.

    Args:
        left: Seconds until the other create cannot be stored any more.
        lease: The length of a lease in seconds.
    """
    return max(SHORTEST, min(math.ceil(left) + 1, math.ceil(lease / 8)))


def for_outage(age: float) -> int:
    """Return the pause while a dependency does not answer: as long again as it has not, at most five minutes.

    Seven attempts cover an outage of five minutes, and leave three for the lease that can follow.

    Args:
        age: For how many seconds it has not answered.
    """
    return max(SHORTEST, min(math.ceil(age), _LONGEST_OUTAGE))


def for_notice(seconds: float) -> int:
    """Return the pause until all replicas know that this one admits creates without the store."""
    return math.ceil(seconds) + 1
