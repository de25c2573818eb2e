"""Every row of the decision table is reached through the code, over a real Valkey."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final, NamedTuple, TypeAlias

import pytest
import structlog

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon
from webhook.dedupe.core.decide import TABLE
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.core.record import decode, encode
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.settings import DedupeSettings, OnRedisDown, OnUnproved
from webhook.store.client import RedisClient
from webhook.store.url import parse_url

GENERATED = generated_name("nightly-", "nightly", "d-1")
#: Creates the situation in which the next create is decided.
Prepare: TypeAlias = Callable[[Valkey, Replica], Awaitable[None]]
#: A lease that is over as soon as a create is a few seconds old, by both clocks.
SHORT: Final = timedelta(microseconds=1)
_MINUTE_MS: Final = 60_000


async def nothing(_: Valkey, __: Replica) -> None:
    """Leave the store new."""


async def reserved(_: Valkey, replica: Replica) -> None:
    """Allow a create that is not stored."""
    assert (await replica.validate(fresh("first"))).allowed


async def reserved_a_minute_ago(valkey: Valkey, replica: Replica) -> None:
    """As above, a minute ago; nothing has read the run since then."""
    await reserved(valkey, replica)
    address = key_of(fresh()).address
    raw, record = await replica.store.get(address, soon())
    assert record is not None
    earlier = replace(
        record, reserved_at=record.reserved_at - _MINUTE_MS, created_at=record.created_at - _MINUTE_MS // 1000
    )
    assert decode(raw) == record
    await replica.client.command("SET", address.key, encode(earlier, raw[0]), deadline=soon())


async def stored(_: Valkey, replica: Replica) -> None:
    """Allow a create and store it; nothing confirms it."""
    assert (await replica.create(fresh("first"))).allowed


async def confirmed(_: Valkey, replica: Replica) -> None:
    """Store a run and confirm its record."""
    run = fresh("first")
    assert (await replica.create(run)).allowed
    await replica.confirmer.confirm(run, soon(), by="watch")


async def forgotten(_: Valkey, replica: Replica) -> None:
    """Forget a run."""
    run = fresh("first")
    assert (await replica.create(run)).allowed
    assert await replica.confirmer.forget(key_of(run).address, run.uid, soon())


async def reads_forbidden(valkey: Valkey, replica: Replica) -> None:
    """Take the right to read runs away after a create was allowed."""
    await reserved(valkey, replica)
    replica.storage.forbidden = True


async def api_server_down(valkey: Valkey, replica: Replica) -> None:
    """Stop the API server after a create was allowed."""
    await reserved(valkey, replica)
    replica.storage.down = True


async def redis_down(valkey: Valkey, _: Replica) -> None:
    """Stop Redis."""
    valkey.kill()


async def reserved_and_redis_down(valkey: Valkey, replica: Replica) -> None:
    """Stop Redis after a create was allowed."""
    await reserved(valkey, replica)
    valkey.kill()


async def redis_emptied(_: Valkey, replica: Replica) -> None:
    """Delete all records and marks."""
    await replica.client.command("FLUSHALL", deadline=soon())


async def reserved_and_redis_emptied(valkey: Valkey, replica: Replica) -> None:
    """Delete all records and marks after a create was allowed."""
    await reserved(valkey, replica)
    await redis_emptied(valkey, replica)


class Scenario(NamedTuple):
    """A situation, and the rows that decide a create in it.

    Attributes:
        prepare: Creates the situation.
        name: The name of the create.
        rows: The rows in their order, counted from 1 as in the document.
        settings: The settings of the replica.
        waits: Whether the create waits, so that the rows are applied again and again.
    """

    prepare: Prepare
    name: str
    rows: tuple[int, ...]
    settings: DedupeSettings = DedupeSettings()
    waits: bool = False


SCENARIOS: Final = (
    Scenario(nothing, "second", (2,)),
    Scenario(confirmed, "second", (1,)),
    Scenario(forgotten, "second", (4, 2)),
    Scenario(reads_forbidden, "second", (5, 6)),
    Scenario(api_server_down, "second", (5, 7)),
    Scenario(stored, "second", (5, 8)),
    Scenario(redis_down, "second", (5, 9), DedupeSettings(on_redis_down=OnRedisDown.ALLOW)),
    Scenario(redis_down, "second", (5, 10)),
    Scenario(redis_down, GENERATED, (5, 11)),
    Scenario(reserved_and_redis_down, GENERATED, (5, 12)),
    Scenario(redis_emptied, "second", (5, 13), waits=True),
    Scenario(reserved_and_redis_emptied, GENERATED, (5, 14), waits=True),
    Scenario(redis_emptied, GENERATED, (5, 16, 2)),
    Scenario(redis_emptied, "second", (5, 16, 2), DedupeSettings(lease=SHORT)),
    Scenario(reserved, "first", (5, 17, 2)),
    Scenario(reserved_a_minute_ago, "first", (5, 18, 2)),
    Scenario(reserved, "second", (5, 19), waits=True),
    Scenario(
        reserved_a_minute_ago, "second", (5, 20), DedupeSettings(lease=SHORT, on_unproved=OnUnproved.DENY), waits=True
    ),
    Scenario(reserved_a_minute_ago, "second", (5, 21, 5, 22, 2), DedupeSettings(lease=SHORT)),
)


async def rows_of(
    replica: Replica, run: OrchestrationRun, *, request_uid: str = "", seconds: float = 2.0
) -> tuple[int, ...]:
    """Validate a create and return the rows that were applied, in their order."""
    with structlog.testing.capture_logs() as lines:
        await replica.validate(run, request_uid=request_uid, seconds=seconds)
    return tuple(line["row"] for line in lines if line["event"] == "table row applied")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.prepare.__name__}-{scenario.rows}")
async def test_a_situation_is_decided_by_its_rows(valkey: Valkey, replica: Replica, scenario: Scenario) -> None:
    """The validator applies exactly the expected rows; a create that waits applies them again and again."""
    rows = scenario.rows
    replica = await replica.changed(scenario.settings)
    await scenario.prepare(valkey, replica)
    applied = await rows_of(replica, fresh(scenario.name), seconds=0.6 if scenario.waits else 2.0)
    times = len(applied) // len(rows)
    assert applied == rows * times
    assert times >= 1 if scenario.waits else times == 1


@pytest.fixture
async def unacknowledged(valkey: Valkey, replica: Replica) -> AsyncIterator[Replica]:
    """A strict replica that waits for a second server of the store, which does not exist."""
    await replica.leave()
    client = RedisClient(parse_url(f"{valkey.url}?wait_replicas=1&wait_milliseconds=10"))
    yield await Replica(client, replica.storage, DedupeSettings(strict=True)).join()
    await client.close()


async def test_a_reservation_that_no_replica_has_is_decided_by_its_row(unacknowledged: Replica) -> None:
    """Under `strict`, row 3 refuses a reservation that too few replicas of the store have."""
    assert set(await rows_of(unacknowledged, fresh("first"), seconds=0.6)) == {UNACKNOWLEDGED}


async def test_a_server_that_starts_after_a_loss_cannot_know(valkey: Valkey, replica: Replica) -> None:
    """Its memory was filled from a store that had lost records: row 15 refuses a generated name too."""
    await reserved_and_redis_emptied(valkey, replica)
    await replica.leave()
    restarted = await Replica(replica.client, replica.storage).join()
    assert set(await rows_of(restarted, fresh(GENERATED), seconds=0.6)) == {5, BLIND}


async def test_the_same_create_is_decided_by_the_script(replica: Replica) -> None:
    """The same create again, by its request or by its object, reaches the row for a retry without a read."""
    run, request_uid = fresh("first"), str(uuid.uuid4())
    assert await rows_of(replica, run, request_uid=request_uid) == (2,)
    assert await rows_of(replica, run, request_uid=request_uid) == (2,)
    assert await rows_of(replica, run) == (2,)
    assert await rows_of(replica, fresh("other"), request_uid=request_uid) == (2,)


#: The row that needs a store of several servers, and the one that needs a server that was started after a loss.
UNACKNOWLEDGED: Final = 3
BLIND: Final = 15


def test_every_row_is_reached() -> None:
    """The situations above reach every row of the table."""
    reached = {row for scenario in SCENARIOS for row in scenario.rows}
    assert reached | {UNACKNOWLEDGED, BLIND} == set(range(1, len(TABLE) + 1))
