"""Every row of the decision table is reached through the code, over a real Valkey."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final, NamedTuple, TypeAlias

import pytest
import structlog

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, soon
from webhook.dedupe.core.decide import TABLE
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.core.run import OrchestrationRun

GENERATED = generated_name("nightly-", "nightly", "d-1")
#: Creates the situation in which the next create is decided.
Prepare: TypeAlias = Callable[[Valkey, Replica], Awaitable[None]]


async def nothing(_: Valkey, __: Replica) -> None:
    """Leave the store new."""


async def reserved(_: Valkey, replica: Replica) -> None:
    """Allow a create that is not stored."""
    assert (await replica.validate(fresh("first"))).allowed


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
    assert await replica.confirmer.forget(key_of(run), run.uid, soon())


async def api_server_down(valkey: Valkey, replica: Replica) -> None:
    """Stop the API server after a create was allowed."""
    await reserved(valkey, replica)
    replica.storage.down = True


async def redis_down(valkey: Valkey, _: Replica) -> None:
    """Stop Redis."""
    valkey.kill()


async def redis_emptied(_: Valkey, replica: Replica) -> None:
    """Delete all records and marks."""
    await replica.client.command("FLUSHALL", deadline=soon())


class Scenario(NamedTuple):
    """A situation, and the rows that decide a create in it.

    Attributes:
        prepare: Creates the situation.
        lease: The lease of reservations in seconds.
        name: The name of the create.
        rows: The rows in their order, counted from 1 as in the document.
    """

    prepare: Prepare
    lease: float
    name: str
    rows: tuple[int, ...]


SCENARIOS: Final = (
    Scenario(nothing, 90, "second", (2,)),
    Scenario(confirmed, 90, "second", (1,)),
    Scenario(forgotten, 90, "second", (3, 2)),
    Scenario(redis_down, 90, "second", (4,)),
    Scenario(api_server_down, 90, "second", (5, 6)),
    Scenario(stored, 90, "second", (5, 7)),
    Scenario(redis_down, 90, GENERATED, (5, 8)),
    Scenario(redis_emptied, 90, "second", (5, 9)),
    Scenario(redis_emptied, 90, GENERATED, (5, 10, 2)),
    Scenario(redis_emptied, 1e-6, "second", (5, 10, 2)),
    Scenario(reserved, 90, "first", (5, 11, 2)),
    Scenario(reserved, 90, "second", (5, 12)),
    Scenario(reserved, 1e-6, "second", (5, 13, 5, 14, 2)),
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
    settings = replace(replica.settings, lease=timedelta(seconds=scenario.lease))
    replica = Replica(replica.client, replica.storage, settings)
    await scenario.prepare(valkey, replica)
    applied = await rows_of(replica, fresh(scenario.name), seconds=0.6 if 12 in rows else 2.0)
    assert applied[: len(rows)] == rows
    assert len(applied) % len(rows) == 0
    assert applied == rows * (len(applied) // len(rows))


async def test_the_same_create_is_decided_by_the_script(replica: Replica) -> None:
    """The same create again, by its request or by its object, reaches the row for a retry without a read."""
    run, request_uid = fresh("first"), str(uuid.uuid4())
    assert await rows_of(replica, run, request_uid=request_uid) == (2,)
    assert await rows_of(replica, run, request_uid=request_uid) == (2,)
    assert await rows_of(replica, run) == (2,)
    assert await rows_of(replica, fresh("other"), request_uid=request_uid) == (2,)


def test_every_row_is_reached() -> None:
    """The situations above reach every row of the table."""
    assert {row for scenario in SCENARIOS for row in scenario.rows} == set(range(1, len(TABLE) + 1))
