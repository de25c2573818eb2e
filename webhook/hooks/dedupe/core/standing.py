"""How a stored run stands to the record of its delivery, and what that means for the next create. Pure."""

from __future__ import annotations

from enum import Enum

from webhook.hooks.dedupe.core.evidence import counts
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.core.names import is_generated
from webhook.hooks.dedupe.core.record import Record, State, canonical_uid
from webhook.hooks.dedupe.core.run import OrchestrationRun


class Standing(Enum):
    """What the store says of a run that is stored."""

    CONFIRMED = "confirmed"  # the record is of this run
    RESERVED = "reserved"  # it is, and nobody has seen the run yet
    MISSING = "missing"  # there is no record
    TWIN = "twin"  # the record is of another run
    FORGOTTEN = "forgotten"  # an operator has freed the delivery
    EXPIRED = "expired"  # the run is older than the retention
    UNREADABLE = "unreadable"  # the record is damaged, or of a newer release

    @property
    def mendable(self) -> bool:
        """Whether confirming the run makes it right."""
        return self in {Standing.RESERVED, Standing.MISSING}

    @property
    def wrong(self) -> bool:
        """Whether somebody should look at it."""
        return self.mendable or self in {Standing.TWIN, Standing.UNREADABLE}


def standing(
    run: OrchestrationRun, record: Record | None, key: DeliveryKey, *, now: float, retention: float
) -> Standing:
    """Compare a stored run with the record of its delivery.

    Args:
        run: As the API server holds it.
        record: As the store holds it; None if it holds none.
        key: The run's delivery.
        now: Seconds since 1970.
        retention: Seconds.
    """
    if not counts(run, key, forgotten=None, now=now, retention=retention):
        return Standing.EXPIRED
    if not counts(run, key, forgotten=record.forgotten if record else None, now=now, retention=retention):
        return Standing.FORGOTTEN
    if record is None or record.state is State.FORGOTTEN:
        return Standing.MISSING
    if record.state is State.RESERVED:
        # Whatever uid it was reserved with: a run that is stored is what the next look would confirm.
        return Standing.RESERVED
    return Standing.CONFIRMED if record.uid == canonical_uid(run.uid) else Standing.TWIN


def after_forgetting(record: Record, key: DeliveryKey, *, stored: bool) -> str:
    """Say in a sentence what happens to the next create once a delivery is forgotten.

    Args:
        record: Of the run that is to be forgotten.
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
