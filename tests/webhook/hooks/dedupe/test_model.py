"""Random histories: at most one run of a delivery is ever stored within retention, and no delivery is blocked for ever.

What no webhook can promise is left out, and named: see "Limits" in `docs/deduplication.md`.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

import pytest

from tests.webhook.hooks.dedupe.model import KEY, Actor, Faults, Stored, World
from webhook.hooks.dedupe.core.decide import Verdict
from webhook.hooks.dedupe.core.names import generated_name
from webhook.hooks.dedupe.settings import DedupeSettings, OnRedisDown

HISTORIES = 3400
GENERATED = generated_name("nightly-", KEY.ref, KEY.delivery_id)
ResultT = TypeVar("ResultT")


def play(seed: int, policy: OnRedisDown, names: tuple[str, ...], faults: Faults) -> World:
    """Play one history and check every promise along the way and at its end."""
    world = World(random.Random(seed), DedupeSettings(timedelta(hours=1), policy), faults)
    for event in world.chance.choices(tuple(EVENTS), tuple(EVENTS.values()), k=world.chance.randrange(60, 240)):
        event(world, names)
    heal(world)
    nobody_is_blocked(world)
    return world


def create(world: World, names: tuple[str, ...]) -> None:
    """A client submits the delivery."""
    name, replica = world.chance.choice(names), world.chance.randrange(2)
    world.actors.append(Actor(replica, world.create(name, replica)))


def go_on(world: World, _: tuple[str, ...]) -> None:
    """Something under way takes a step."""
    if world.actors:
        step(world, world.chance.choice(world.actors))


def settle(world: World, _: tuple[str, ...]) -> None:
    """A create that was allowed is stored, or fails: a quota, another webhook, a server that died."""
    if world.pending:
        pending = world.chance.choice(world.pending)
        if world.chance.random() < 0.3:
            world.pending.remove(pending)
        elif (stored := world.commit(pending)) is not None:
            nothing_stored_twice(world, stored)


def elapse(world: World, _: tuple[str, ...]) -> None:
    """Time passes: within a webhook call, a request, a lease."""
    world.now += world.chance.choice((0.05, 0.1, 0.3, 0.3, 1.0, 1.0, 5.0, 31.0, 61.0, 95.0))


def outlive(world: World, _: tuple[str, ...]) -> None:
    """The retention passes."""
    world.now += 3700.0


def watch(world: World, _: tuple[str, ...]) -> None:
    """The controller is told of what is stored."""
    world.actors.extend(Actor(2, world.watch(run)) for run in list(world.storage.runs.values()))


def delete(world: World, _: tuple[str, ...]) -> None:
    """Somebody deletes a run."""
    if world.storage.runs:
        world.actors.append(Actor(3, world.delete(world.chance.choice(list(world.storage.runs.values())))))


def crash(world: World, _: tuple[str, ...]) -> None:
    """A replica or the controller dies, and with it all that it was doing."""
    dead = world.chance.randrange(3)
    for actor in [actor for actor in world.actors if actor.process == dead]:
        actor.way.close()
        world.actors.remove(actor)
    if dead < len(world.doubts):
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


def lose_memory(world: World, _: tuple[str, ...]) -> None:
    """Redis is emptied, or a server takes over that was behind."""
    if world.faults.outages:
        world.lose_memory(all_of_it=world.chance.random() < 0.5)


def replicate(world: World, _: tuple[str, ...]) -> None:
    """The server that may take over catches up."""
    world.snapshot = dict(world.redis.keys)


def rebuild(world: World, _: tuple[str, ...]) -> None:
    """A replica looks whether there is something to rebuild."""
    world.actors.append(Actor(2, world.rebuild(world.chance.randrange(2))))


#: What can happen, and how often of a thousand times.
EVENTS: Final = {
    create: 80,
    go_on: 620,
    settle: 80,
    elapse: 60,
    watch: 30,
    delete: 30,
    crash: 10,
    toggle_api_server: 10,
    forget: 4,
    outlive: 4,
    toggle_redis: 15,
    lose_memory: 8,
    replicate: 10,
    rebuild: 19,
}


def step(world: World, actor: Actor) -> None:
    """Let one actor go on until it waits for something."""
    try:
        actor.way.send(None)
    except StopIteration:
        world.actors.remove(actor)


def nothing_stored_twice(world: World, second: Stored) -> None:
    """Check that a run that has just been stored is its delivery's only one, save for the documented limits."""
    lenient = world.settings.on_redis_down is not OnRedisDown.DENY
    for first in world.stored:
        if first is second or not world.counts(first):
            continue
        if lenient and first.run.name != second.run.name and (first.admitted_blind or second.admitted_blind):
            continue  # Redis did not answer, and the policy let a generated name go on beside another one
        if first.deleted_at is not None:
            if any(first.at <= loss <= second.allowed_at for loss in world.losses):
                continue  # nobody remembers a deleted run if Redis does not
            if lenient and second.admitted_blind:
                continue  # the same, while Redis is away
            if first.run.name == second.run.name and second.allowed_at <= first.deleted_at:
                continue  # both were on their way at once under one name, and the first was deleted in between
        pytest.fail(f"{first.run.name} and then {second.run.name} were stored")


def heal(world: World) -> None:
    """End all trouble and let time pass until every lease is over."""
    for actor in world.actors:
        actor.way.close()
    world.actors.clear()
    world.pending.clear()
    world.redis_up, world.storage.down, world.faults = True, False, Faults(0, outages=False)
    for stored in list(world.storage.runs.values()):
        finish(world, world.watch(stored))
    world.now += 200.0
    finish(world, world.rebuild())  # this look may be the one that notices the loss
    world.now += 200.0
    assert finish(world, world.rebuild())


def nobody_is_blocked(world: World) -> None:
    """Check the answers that were given, the answer now, and the answer after retention."""
    assert set(world.answers) <= {stored.run.name for stored in world.stored}
    standing = [stored for stored in world.stored if world.counts(stored)]
    verdict = finish(world, world.create("afterwards", 0))
    if not world.forgotten:
        assert verdict is Verdict.DUPLICATE if any(s.deleted_at is None for s in standing) else verdict is not None
    assert verdict in ({Verdict.DUPLICATE, Verdict.ALLOW} if world.stored else {Verdict.ALLOW})
    if not standing and not world.forgotten:
        assert verdict is Verdict.ALLOW
    world.now += world.settings.retention.total_seconds() + 200.0
    assert finish(world, world.create("much-later", 1)) is Verdict.ALLOW


def finish(world: World, way: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Let one actor go on to its end, with time passing slowly."""
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
    # A model in which nothing ever happens would find nothing.
    assert stored > HISTORIES / 3
    assert duplicates > HISTORIES / 10
