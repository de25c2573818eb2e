"""What a stored run proves: whether it counts for a delivery, what its record becomes, and whether the two agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from fnmatch import fnmatchcase
from typing import Protocol

from webhook.dedupe.core.identity import DeliveryKey, is_generated
from webhook.dedupe.core.record import NO_REQUEST, Forgotten, Record, State, canonical_uid
from webhook.dedupe.core.run import OrchestrationRun


class RecordStatus(Enum):
    """What the store holds about a stored run."""

    CONFIRMED = "confirmed"  # the record is of this run
    RESERVED = "reserved"  # there is a reservation that nothing has confirmed yet
    MISSING = "missing"  # there is no record
    CONFLICT = "conflict"  # the record is of another run
    FORGOTTEN = "forgotten"  # an operator has freed the delivery
    EXPIRED = "expired"  # the run is older than the retention
    UNREADABLE = "unreadable"  # the record is damaged, or was written by a newer release

    @property
    def mendable(self) -> bool:
        """Whether confirming the run makes the record right."""
        return self in {RecordStatus.RESERVED, RecordStatus.MISSING}

    @property
    def wrong(self) -> bool:
        """Whether the record is not as it should be."""
        return self.mendable or self in {RecordStatus.CONFLICT, RecordStatus.UNREADABLE}


class Chosen(Enum):
    """Whether a record is one of those that an operator asks for."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # it does not tell its namespace


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which confirmed records an operator asks for; each attribute narrows the choice.

    Attributes:
        namespaces: Namespaces of the runs; empty for all.
        created_after: When the run was created at the earliest, s since 1970.
        run: A pattern of the run's name, with `*`, `?` and `[…]`; empty for any name.
    """

    namespaces: tuple[str, ...] = ()
    created_after: float = 0.0
    run: str = ""

    def chooses(self, record: Record, *, now: float, retention: float) -> Chosen:
        """Return whether a record is asked for; one that refuses no create never is.

        Args:
            record: As the store holds it.
            now: Seconds since 1970.
            retention: Seconds.
        """
        # Times of creation are whole seconds: a run of the same second may have been created after the given time.
        if (
            record.state is not State.CONFIRMED
            or record.created_at + retention <= now
            or record.created_at + 1 <= self.created_after
            or (self.run and not fnmatchcase(record.name, self.run))
        ):
            return Chosen.NO
        if not self.namespaces or record.namespace in self.namespaces:
            return Chosen.YES
        return Chosen.NO if record.namespace else Chosen.UNKNOWN


class StoredRun(Protocol):
    """What is known about a run that was stored: the run itself, or the record of its create."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uid(self) -> str:
        """Its uid."""

    @property
    def created_at(self) -> int:
        """When it was created, s since 1970."""

    @property
    def phase(self) -> str:
        """The last phase that was read."""

    @property
    def fingerprint(self) -> bytes:
        """8 bytes over its parameters."""


def counts(run: StoredRun, *, forgotten: Forgotten | None, now: float, retention: float) -> bool:
    """Return whether a stored run of a delivery makes another create of it a duplicate.

    Args:
        run: A run of this delivery.
        forgotten: From the record, if there is one.
        now: Seconds since 1970.
        retention: Seconds for which a run counts, from its creation.

    Returns:
        True if the run is younger than the retention and is not forgotten.
    """
    if run.created_at + retention <= now:
        return False
    if forgotten is None:
        return True
    return run.created_at >= forgotten.created_at and canonical_uid(run.uid) != forgotten.uid


def first_that_counts(
    runs: Iterable[OrchestrationRun], *, forgotten: Forgotten | None, now: float, retention: float
) -> OrchestrationRun | None:
    """Return the oldest of the runs that count, the first by name among those of the same second; None if none does."""
    counting = (run for run in runs if counts(run, forgotten=forgotten, now=now, retention=retention))
    return min(counting, key=lambda run: (run.created_at, run.name), default=None)


def confirmed(record: Record | None, run: StoredRun, *, now: float, retention: float) -> Record | None:
    """Return what a record becomes when a stored run is read: by the watch, at its deletion or by a quorum read.

    Args:
        record: As the store holds it; None if it holds none.
        run: A run of the record's delivery, as the API server holds it or held it.
        now: Seconds since 1970.
        retention: Seconds.

    Returns:
        The record to write, or None if there is nothing to write.
    """
    if not counts(run, forgotten=record.forgotten if record else None, now=now, retention=retention):
        return None
    uid = canonical_uid(run.uid)
    if record is not None and record.state is State.CONFIRMED:
        # Of two runs the first one that was confirmed stays the delivery's run: answers must not change.
        if record.uid != uid or not run.phase or record.phase == run.phase:
            return None
        return replace(record, phase=run.phase)
    return Record(
        state=State.CONFIRMED,
        name=run.name,
        uid=uid,
        request=NO_REQUEST,
        fingerprint=run.fingerprint,
        created_at=run.created_at,
        reserved_at=record.reserved_at if record is not None else 0,
        phase=run.phase,
        forgotten=record.forgotten if record is not None else None,
    )


def after_failure(record: Record) -> Record | None:
    """Return what a reservation becomes when its create is known to have failed; None if nothing has to be kept."""
    return replace(record, state=State.FORGOTTEN, request=NO_REQUEST) if record.forgotten else None


def after_forget(record: Record) -> Record:
    """Return what a record becomes when an operator forgets its run: it keeps the run's time and uid.

    So the watch does not confirm that run again.
    """
    newest = max(record.created_at, record.forgotten.created_at if record.forgotten else 0)
    return replace(record, state=State.FORGOTTEN, forgotten=Forgotten(newest, record.uid))


def record_status(run: StoredRun, record: Record | None, *, now: float, retention: float) -> RecordStatus:
    """Compare a stored run with the record of its delivery.

    Args:
        run: As the API server holds it.
        record: As the store holds it; None if it holds none.
        now: Seconds since 1970.
        retention: Seconds.
    """
    if not counts(run, forgotten=None, now=now, retention=retention):
        return RecordStatus.EXPIRED
    if not counts(run, forgotten=record.forgotten if record else None, now=now, retention=retention):
        return RecordStatus.FORGOTTEN
    if record is None or record.state is State.FORGOTTEN:
        return RecordStatus.MISSING
    if record.state is State.RESERVED:
        # The uid of the reservation does not matter: the next quorum read would confirm the run that is stored.
        return RecordStatus.RESERVED
    return RecordStatus.CONFIRMED if record.uid == canonical_uid(run.uid) else RecordStatus.CONFLICT


def consequence_of_forget(record: Record, key: DeliveryKey, *, stored: bool) -> str:
    """Return a sentence about what happens to the next create after a delivery is forgotten.

    Args:
        record: The record of the run that is to be forgotten.
        key: Its delivery.
        stored: Whether that run is stored now.
    """
    if stored and is_generated(record.name, key.ref, key.delivery_id):
        return (
            f"The run {record.name} still exists and keeps its generated name: the next create with the same "
            "generateName is refused by the API server's storage until that run is deleted; one with another prefix or "
            "a name of its own goes on, and both runs exist."
        )
    if stored:
        return f"The run {record.name} still exists: the next create, under another name, goes on, and both exist."
    if record.state is State.RESERVED:
        return (
            f"The create of {record.name} may still be on its way: if the next create has another name, both may come "
            "to be stored."
        )
    return "Its run is gone: the next create goes on."
