"""What may happen in the model, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass

from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.run import OrchestrationRun


@dataclass
class Faults:
    """What may go wrong.

    Attributes:
        losses: Probability that a message to or from Redis is lost.
        outages: Whether Redis may be down for one replica or for all, restart, or lose records.
        unnoticed: Whether a run can be deleted while nothing of rollonce is called.
        clocks: Whether the clock of Redis may jump.
    """

    losses: float = 0.0
    outages: bool = False
    unnoticed: bool = False
    clocks: bool = False


@dataclass
class Stored:
    """A run that was stored at some time.

    Attributes:
        run: The run.
        at: When it was stored.
        allowed_at: When its create was allowed.
        verdict: How.
        unproved: Whether it was allowed with the Warning that an earlier run may have been deleted.
        deleted_at: When it was deleted, if it was.
        noticed: Whether rollonce was told of the deletion, and has written it down.
    """

    run: OrchestrationRun
    at: float
    allowed_at: float
    verdict: Verdict
    unproved: bool
    deleted_at: float | None = None
    noticed: bool = False


@dataclass
class Pending:
    """A create that the webhook has allowed and that is not stored yet."""

    run: OrchestrationRun
    expires_at: float
    allowed_at: float
    verdict: Verdict
    unproved: bool
