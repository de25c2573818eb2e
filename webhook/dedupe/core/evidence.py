"""What a stored run proves: whether it counts for a delivery, what its record becomes, and whether the two agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from webhook.dedupe.core.fingerprint import fingerprint
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


def counts(
    run: OrchestrationRun, key: DeliveryKey, *, forgotten: Forgotten | None, now: float, retention: float
) -> bool:
    """Return whether a stored run makes another create of a delivery a duplicate.

    Args:
        run: As the API server holds it.
        key: The delivery.
        forgotten: From the record, if there is one.
        now: Seconds since 1970.
        retention: Seconds for which a run counts, from its creation.

    Returns:
        True if the run is of this delivery, byte for byte, is younger than the retention, and is not forgotten.
    """
    if run.key(key.namespace) != key or run.created_at + retention <= now:
        return False
    if forgotten is None:
        return True
    return run.created_at >= forgotten.created_at and canonical_uid(run.uid) != forgotten.uid


def first_that_counts(
    runs: Iterable[OrchestrationRun],
    key: DeliveryKey,
    *,
    forgotten: Forgotten | None,
    now: float,
    retention: float,
) -> OrchestrationRun | None:
    """Return the oldest of the runs that count, the first by name among those of the same second; None if none does."""
    counting = (run for run in runs if counts(run, key, forgotten=forgotten, now=now, retention=retention))
    return min(counting, key=lambda run: (run.created_at, run.name), default=None)


def confirmed(
    record: Record | None, run: OrchestrationRun, key: DeliveryKey, *, now: float, retention: float
) -> Record | None:
    """Return what a record becomes when a stored run is read: by the watch, at its deletion or by a quorum read.

    Args:
        record: As the store holds it; None if it holds none.
        run: As the API server holds it or held it.
        key: The run's delivery.
        now: Seconds since 1970.
        retention: Seconds.

    Returns:
        The record to write, or None if there is nothing to write.
    """
    if not counts(run, key, forgotten=record.forgotten if record else None, now=now, retention=retention):
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
        fingerprint=fingerprint(run.parameters),
        created_at=run.created_at,
        reserved_at=record.reserved_at if record is not None else 0,
        phase=run.phase,
        forgotten=record.forgotten if record is not None else None,
    )


def after_forget(record: Record) -> Record:
    """Return what a record becomes when an operator forgets its run: it keeps the run's time and uid.

    So the watch does not confirm that run again.
    """
    newest = max(record.created_at, record.forgotten.created_at if record.forgotten else 0)
    return replace(record, state=State.FORGOTTEN, forgotten=Forgotten(newest, record.uid))


def record_status(
    run: OrchestrationRun, record: Record | None, key: DeliveryKey, *, now: float, retention: float
) -> RecordStatus:
    """Compare a stored run with the record of its delivery.

    Args:
        run: As the API server holds it.
        record: As the store holds it; None if it holds none.
        key: The run's delivery.
        now: Seconds since 1970.
        retention: Seconds.
    """
    if not counts(run, key, forgotten=None, now=now, retention=retention):
        return RecordStatus.EXPIRED
    if not counts(run, key, forgotten=record.forgotten if record else None, now=now, retention=retention):
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
