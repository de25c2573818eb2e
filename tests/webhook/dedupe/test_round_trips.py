"""The commands of a decision in Redis, as the server counts them."""

from __future__ import annotations

import uuid

from tests.webhook.dedupe.conftest import Replica, fresh, soon
from tests.webhook.store.test_batch import calls

CREATES = 50


async def test_a_decision_is_one_round_trip(replica: Replica) -> None:
    """Each first create is one script, and so is each duplicate. All other commands are run by the script."""
    assert (await replica.create(fresh("warm", delivery_id="warm"))).allowed
    # Without what a server does in the background, every command is part of a decision.
    await replica.leave()
    before = await calls(replica.client)
    for number in range(CREATES):
        assert (await replica.create(fresh(f"run-{number}", delivery_id=str(uuid.uuid4())))).allowed
    first = await calls(replica.client)
    made = {name: first[name] - before.get(name, 0) for name in first}
    made = {name: count for name, count in made.items() if count}
    made.pop("info")  # one of this test, and one of each script
    inside = {
        "evalsha": 1,
        "time": 1,
        "get": 2,
        "set": 1,
        "hmget": 1,
        "hincrby": 2,
        "hset": 1,
        "zrem": 1,
        "zadd": 1,
        "xadd": 1,
    }
    assert made == {name: CREATES * count for name, count in inside.items()}
    run = fresh("known", delivery_id="known")
    await replica.create(run)
    await replica.confirmer.confirm(run, soon(), by="watch")
    known = await calls(replica.client)
    for number in range(CREATES):
        assert not (await replica.create(fresh(f"again-{number}", delivery_id="known"))).allowed
    refused = await calls(replica.client)
    assert refused["evalsha"] - known["evalsha"] == CREATES
    assert refused["set"] == known["set"]
