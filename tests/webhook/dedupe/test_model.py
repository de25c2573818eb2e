"""Random histories: at most one run of a delivery is stored within the retention, and no delivery stays blocked.

Exceptions that no webhook can avoid are listed under "Limits" in `docs/deduplication.md`.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

import pytest

from tests.webhook.dedupe.model import KEY, Actor, Faults, Stored, World
from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.settings import DedupeSettings, OnRedisDown

HISTORIES = 3400
GENERATED = generated_name("nightly-", KEY.ref, KEY.delivery_id)
ResultT = TypeVar("ResultT")


def play(seed: int, policy: OnRedisDown, names: tuple[str, ...], faults: Faults) -> World:
    """Play one history, and check every promise after each commit and at the end."""
    world = World(random.Random(seed), DedupeSettings(timedelta(hours=1), policy), faults)
    for event in world.random.choices(tuple(EVENTS), tuple(EVENTS.values()), k=world.random.randrange(60, 240)):
        event(world, names)
    heal(world)
    no_delivery_is_blocked(world)
    return world


def create(world: World, names: tuple[str, ...]) -> None:
    """A client creates a run of the delivery."""
    name, replica = world.random.choice(names), world.random.randrange(2)
    world.actors.append(Actor(replica, world.create(name, replica)))


def proceed(world: World, _: tuple[str, ...]) -> None:
    """Let one actor take a step."""
    if world.actors:
        step(world, world.random.choice(world.actors))


def settle(world: World, _: tuple[str, ...]) -> None:
    """A create that was allowed is stored, or fails: a quota, another webhook, a server that died."""
    if world.pending:
        pending = world.random.choice(world.pending)
        if world.random.random() < 0.3:
            world.pending.remove(pending)
        elif (stored := world.commit(pending)) is not None:
            nothing_stored_twice(world, stored)


def elapse(world: World, _: tuple[str, ...]) -> None:
    """Time passes: within a webhook call, a request, a lease."""
    world.now += world.random.choice((0.05, 0.1, 0.3, 0.3, 1.0, 1.0, 5.0, 31.0, 61.0, 95.0))


def outlive(world: World, _: tuple[str, ...]) -> None:
    """The retention passes."""
    world.now += 3700.0


def watch(world: World, _: tuple[str, ...]) -> None:
    """The controller's watch shows all stored runs."""
    world.actors.extend(Actor(2, world.watch(run)) for run in list(world.storage.runs.values()))


def delete(world: World, _: tuple[str, ...]) -> None:
    """A run is deleted."""
    if world.storage.runs:
        world.actors.append(Actor(3, world.delete(world.random.choice(list(world.storage.runs.values())))))


def crash(world: World, _: tuple[str, ...]) -> None:
    """A replica or the controller dies, and with it everything that was under way in it."""
    dead = world.random.randrange(3)
    for actor in [actor for actor in world.actors if actor.process == dead]:
        actor.way.close()
        world.actors.remove(actor)
    if dead < len(world.replicas):
        world.replace_replica(dead)


def toggle_api_server(world: World, _: tuple[str, ...]) -> None:
    """The API server stops answering reads, or answers again."""
    world.storage.down = not world.storage.down


def forget(world: World, _: tuple[str, ...]) -> None:
    """An operator forgets the delivery's run."""
    world.actors.append(Actor(3, world.forget()))


def toggle_redis(world: World, _: tuple[str, ...]) -> None:
    """Redis stops answering, or answers again."""
    world.redis_up = not (world.redis_up and world.faults.outages)


def lose_records(world: World, _: tuple[str, ...]) -> None:
    """Redis is emptied, or a server takes over that does not have the latest writes."""
    if world.faults.outages:
        world.lose_records(everything=world.random.random() < 0.5)


def replicate(world: World, _: tuple[str, ...]) -> None:
    """The server that may take over gets all writes."""
    world.snapshot = dict(world.redis.keys)


def rebuild(world: World, _: tuple[str, ...]) -> None:
    """A replica rebuilds if it is necessary."""
    world.actors.append(Actor(2, world.rebuild(world.random.randrange(2))))


#: The events, and how often of about a thousand times each happens.
EVENTS: Final = {
    create: 80,
    proceed: 620,
    settle: 80,
    elapse: 60,
    watch: 30,
    delete: 30,
    crash: 10,
    toggle_api_server: 10,
    forget: 4,
    outlive: 4,
    toggle_redis: 15,
    lose_records: 8,
    replicate: 10,
    rebuild: 19,
}


def step(world: World, actor: Actor) -> None:
    """Let one actor run until it waits for something."""
    try:
        actor.way.send(None)
    except StopIteration:
        world.actors.remove(actor)


def nothing_stored_twice(world: World, second: Stored) -> None:
    """Check that a run that was just stored is the only one of its delivery, except for the documented limits."""
    lenient = world.settings.on_redis_down is not OnRedisDown.DENY
    for first in world.stored:
        if first is second or not world.counts(first):
            continue
        if lenient and first.run.name != second.run.name and (first.admitted_blind or second.admitted_blind):
            continue  # Redis did not answer, and the policy allowed a generated name beside another one
        if first.deleted_at is not None:
            if any(first.at <= loss <= second.allowed_at for loss in world.losses):
                continue  # of a deleted run only Redis has a record
            if lenient and second.admitted_blind:
                continue  # the same, while Redis is down
            if first.run.name == second.run.name and second.allowed_at <= first.deleted_at:
                continue  # both were allowed under one name, and the first was deleted before the second was stored
        pytest.fail(f"{first.run.name} and then {second.run.name} were stored")


def heal(world: World) -> None:
    """End all faults and let time pass until every lease is over."""
    for actor in world.actors:
        actor.way.close()
    world.actors.clear()
    world.pending.clear()
    world.redis_up, world.storage.down, world.faults = True, False, Faults(0, outages=False)
    for stored in list(world.storage.runs.values()):
        finish(world, world.watch(stored))
    world.now += 200.0
    finish(world, world.rebuild())  # this call may be the one that notices the loss
    world.now += 200.0
    assert finish(world, world.rebuild())


def no_delivery_is_blocked(world: World) -> None:
    """Check the answers so far, the answer now, and the answer after the retention."""
    assert set(world.answers) <= {stored.run.name for stored in world.stored}
    counting = [stored for stored in world.stored if world.counts(stored)]
    verdict = finish(world, world.create("afterwards", 0))
    if not world.forgotten:
        assert verdict is Verdict.DUPLICATE if any(s.deleted_at is None for s in counting) else verdict is not None
    assert verdict in ({Verdict.DUPLICATE, Verdict.ALLOW} if world.stored else {Verdict.ALLOW})
    if not counting and not world.forgotten:
        assert verdict is Verdict.ALLOW
    world.now += world.settings.retention.total_seconds() + 200.0
    assert finish(world, world.create("much-later", 1)) is Verdict.ALLOW


def finish(world: World, way: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Let one actor run to its end, with time passing slowly."""
    while True:
        try:
            way.send(None)
        except StopIteration as end:
            result: ResultT = end.value
            return result
        world.now += 0.001


@pytest.mark.parametrize(
    ("policy", "names", "faults"),
    [
        pytest.param(OnRedisDown.DENY, ("a", "b", GENERATED), Faults(0.05, outages=True), id="deny-everything-fails"),
        pytest.param(OnRedisDown.GENERATED, (GENERATED,), Faults(0.05, outages=True), id="generated-names"),
        pytest.param(OnRedisDown.GENERATED, ("a", "b", GENERATED), Faults(0.05, outages=False), id="mixed-names"),
    ],
)
def test_one_run_and_no_delivery_blocked(policy: OnRedisDown, names: tuple[str, ...], faults: Faults) -> None:
    """In thousands of random histories no delivery gets two runs, and each can be submitted again in the end."""
    stored = duplicates = 0
    for seed in range(HISTORIES):
        try:
            world = play(seed, policy, names, Faults(faults.losses, outages=faults.outages))
        except (AssertionError, pytest.fail.Exception) as error:
            raise AssertionError(f"history {seed} of {policy.value}: {error}") from error
        stored += len(world.stored)
        duplicates += len(world.answers)
    # A model in which nothing happens would find nothing.
    assert stored > HISTORIES / 3
    assert duplicates > HISTORIES / 10
