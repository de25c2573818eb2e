"""Which stored runs count for a delivery, and what a record becomes when one is seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from webhook.hooks.dedupe.core.fingerprint import fingerprint
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.record import NO_REQUEST, Forgotten, Record, State, canonical_uid
from webhook.hooks.dedupe.core.run import OrchestrationRun


def counts(
    run: OrchestrationRun, key: DeliveryKey, *, forgotten: Forgotten | None, now: float, retention: float
) -> bool:
    """Tell whether a stored run makes another create of a delivery a duplicate.

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
    """Return the oldest of the runs that count; None if none does."""
    counting = (run for run in runs if counts(run, key, forgotten=forgotten, now=now, retention=retention))
    return min(counting, key=lambda run: (run.created_at, run.name), default=None)


def confirmed(
    record: Record | None, run: OrchestrationRun, key: DeliveryKey, *, now: float, retention: float
) -> Record | None:
    """Say what a record becomes when a stored run is seen: by the watch, at its deletion or by a look.

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
        # Of two runs the first one seen stays the delivery's run: what was once answered stays true.
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
