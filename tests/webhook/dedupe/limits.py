"""Why a delivery can have two runs all the same: the rows of "What can still go wrong" in `docs/deduplication.md`.

The random histories and the exploration share this table: two runs of a delivery that no row explains are a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from webhook.dedupe.core.decide import Verdict

#: What a replica remembers is at most so old when Redis stops answering, and what it has read of the others too.
KNOWN_SECONDS: Final = 7.5
#: A run that is stored so soon after its create was allowed is found by the first read, about a second later.
_SOON_SECONDS: Final = 0.9
#: A run that is deleted later than this after its create was allowed was there at the first read.
_READ_SECONDS: Final = 2.1
#: By so much the clocks of Redis and the API server may differ.
_CLOCK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that was stored at some time. All times are the API server's, in seconds.

    Attributes:
        name: Its name.
        created_at: When it was created.
        verdict: How its create was allowed.
        allowed_at: When.
        at: When it was stored.
        unproved: Whether it was allowed with the Warning that an earlier run may have been deleted.
        deleted_at: When it was deleted, if it was.
        noticed: Whether rollonce was told of the deletion, and has written it down.
    """

    name: str
    created_at: float
    verdict: Verdict
    allowed_at: float
    at: float
    unproved: bool
    deleted_at: float | None = None
    noticed: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """What has happened around two runs of a delivery.

    Attributes:
        now: The time.
        retention: Seconds for which a run counts, from its creation.
        losses: When Redis lost records, or what the servers had written to the API server was lost.
        outages: When Redis stopped answering a replica, and when it answered it again.
        most_ahead: By how many seconds the clock of Redis was ahead at most.
        denied: Whether no create is allowed while Redis proves nothing (`onRedisDown: deny`).
        forgotten: Whether an operator has forgotten the second run before it was stored.
        own_names: Whether creates with names of their own are allowed without Redis (`onRedisDown: allow`).
    """

    now: float
    retention: float
    losses: Sequence[float] = ()
    outages: Sequence[tuple[float, float]] = ()
    most_ahead: float = 0.0
    denied: bool = False
    forgotten: bool = False
    own_names: bool = False

    def near_outage(self, *runs: Kept) -> bool:
        """Return whether a create was allowed about when Redis stopped answering a replica, or answered again."""
        return any(
            min(abs(run.allowed_at - since), abs(run.allowed_at - until)) <= KNOWN_SECONDS
            for run in runs
            for since, until in self.outages
        )


def _unproved(_: Kept, second: Kept, __: History) -> bool:
    """`onUnproved: allow`, with a Warning."""
    return second.unproved


def _forgotten(_: Kept, __: Kept, history: History) -> bool:
    """An operator has forgotten a create that was still on its way."""
    return history.forgotten


def _mixed_names(first: Kept, second: Kept, history: History) -> bool:
    """Allowed by another name just before or after Redis was cut off or lost records, and not stored for a while."""
    if first.name == second.name or history.denied:
        return False
    blind = Verdict.ADMIT in {first.verdict, second.verdict} and history.near_outage(first, second)
    before, after = sorted((first.allowed_at, second.allowed_at))
    return blind or any(before <= loss <= after and loss - before <= KNOWN_SECONDS for loss in history.losses)


def _own_names(first: Kept, second: Kept, history: History) -> bool:
    """`onRedisDown: allow`: both were allowed without Redis, the second before the first was stored."""
    without = first.verdict is Verdict.ADMIT and second.verdict is Verdict.ADMIT
    return history.own_names and without and first.name != second.name and second.allowed_at <= first.at


def _lost(first: Kept, second: Kept, history: History) -> bool:
    """Of a deleted run only Redis has a record."""
    deleted = first.deleted_at is not None
    return deleted and any(first.allowed_at <= loss <= second.allowed_at for loss in history.losses)


def _deleted_in_outage(first: Kept, second: Kept, history: History) -> bool:
    """Created and deleted while Redis was down, or just before."""
    blind = first.verdict is Verdict.ADMIT or history.near_outage(first, second)
    return first.deleted_at is not None and second.verdict is Verdict.ADMIT and blind


def _same_name(first: Kept, second: Kept, _: History) -> bool:
    """Both were allowed under one name, and the first was deleted before the second was stored."""
    return first.deleted_at is not None and first.name == second.name and second.allowed_at <= first.deleted_at


def _unnoticed(first: Kept, _: Kept, __: History) -> bool:
    """Stored late, or deleted at once, while nothing of rollonce was called."""
    if first.deleted_at is None or first.noticed:
        return False
    return first.at > first.allowed_at + _SOON_SECONDS or first.deleted_at < first.allowed_at + _READ_SECONDS


def _expired(first: Kept, _: Kept, history: History) -> bool:
    """A clock that jumps forward makes the records of deleted runs expire."""
    deleted = first.deleted_at is not None
    return deleted and history.now + history.most_ahead >= first.created_at + history.retention


def _lost_and_ahead(first: Kept, second: Kept, history: History) -> bool:
    """Redis was emptied, and its clock set forward so far that the loss looks older than a lease."""
    lost = any(first.allowed_at <= loss <= second.allowed_at for loss in history.losses)
    return lost and history.most_ahead > _CLOCK_SECONDS


#: By the row of the document: whether it explains that a second run was stored after the first.
LIMITS: Final[Mapping[str, Callable[[Kept, Kept, History], bool]]] = {
    "the operator trusts what is not proved": _unproved,
    "an operator frees a delivery too early": _forgotten,
    "two names at the edge of an outage": _mixed_names,
    "two names of their own without Redis": _own_names,
    "a deleted run and a loss": _lost,
    "a run that lived only in an outage": _deleted_in_outage,
    "two creates of one name": _same_name,
    "a deletion that nothing noticed": _unnoticed,
    "a clock that jumps ahead": _expired,
    "Redis emptied and its clock set forward": _lost_and_ahead,
}


def limit_of(first: Kept, second: Kept, history: History) -> str | None:
    """Return the row that explains why a second run was stored after the first; None if it is a defect."""
    return next((name for name, explains in LIMITS.items() if explains(first, second, history)), None)
