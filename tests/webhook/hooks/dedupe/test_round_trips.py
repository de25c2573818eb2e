"""What a decision costs in Redis: counted by the server, not by us."""

from __future__ import annotations

import uuid

from tests.webhook.clients.test_redis_batch import calls
from tests.webhook.hooks.dedupe.conftest import Replica, fresh, soon

CREATES = 50


async def test_a_decision_is_one_round_trip(replica: Replica) -> None:
    """Each first create is one script; so is each duplicate. All else that the server runs is within it."""
    assert (await replica.create(fresh("warm", delivery_id="warm"))).allowed
    before = await calls(replica.client)
    for number in range(CREATES):
        assert (await replica.create(fresh(f"run-{number}", delivery_id=str(uuid.uuid4())))).allowed
    first = await calls(replica.client)
    made = {name: first[name] - before.get(name, 0) for name in first}
    made.pop("info")  # ours, and one within each script
    within = {"time": CREATES, "get": 2 * CREATES, "set": CREATES}
    assert {name: count for name, count in made.items() if count} == {"evalsha": CREATES, **within}
    run = fresh("known", delivery_id="known")
    await replica.create(run)
    await replica.confirmer.confirm(run, soon(), by="watch")
    known = await calls(replica.client)
    for number in range(CREATES):
        assert not (await replica.create(fresh(f"again-{number}", delivery_id="known"))).allowed
    told = await calls(replica.client)
    assert told["evalsha"] - known["evalsha"] == CREATES
    assert told["set"] == known["set"]
