"""What the validating webhook answers, over a real Valkey."""

from __future__ import annotations

from tests.webhook.hooks.dedupe.conftest import Replica, fresh
from webhook.admission.response import StatusDetails


async def test_first_create_goes_on_and_the_second_is_told_of_it(replica: Replica) -> None:
    """The second create of a delivery is refused with 409 and learns the run's name."""
    first = fresh("nightly-1")
    assert (await replica.create(first)).allowed
    decision = await replica.create(fresh("nightly-2"))
    assert not decision.allowed
    assert decision.status is not None
    assert (decision.status.code, decision.status.reason) == (409, "AlreadyExists")
    assert "nightly-1" in decision.status.message
    assert "idempotent" in decision.status.message
    assert isinstance(decision.status.details, StatusDetails)
    assert decision.status.details.uid == first.uid
