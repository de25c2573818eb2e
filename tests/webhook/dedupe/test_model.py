"""Random histories: at most one run of a delivery is stored within the retention, and no delivery stays blocked.

What no webhook can avoid is listed under "What can still go wrong" in `docs/deduplication.md`; each exception here is a
row of that list.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from tests.webhook.dedupe.limits import History, Kept, limit_of
from tests.webhook.dedupe.model import KEY, World
from tests.webhook.dedupe.model_events import Faults, Stored
from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.identity import generated_name
from webhook.dedupe.settings import DedupeSettings, OnRedisDown, OnUnproved

#: For each parameter; `make verify` plays ten times as many.
HISTORIES: Final = int(os.environ.get("ROLLONCE_TEST_HISTORIES", "1000"))
GENERATED: Final = generated_name("nightly-", KEY.ref, KEY.delivery_id)


def play(seed: int, settings: DedupeSettings, names: tuple[str, ...], faults: Faults) -> World:
    """Play one history, and check every promise after each commit and at the end."""
    world = World(random.Random(seed), settings, replace(faults))
    try:
        for event in world.random.choices(tuple(EVENTS), tuple(EVENTS.values()), k=world.random.randrange(60, 240)):
            event(world, names)
        heal(world)
        no_delivery_is_blocked(world)
    finally:
        world.end()
        world.loop.close()
    return world


def create(world: World, names: tuple[str, ...]) -> None:
    """A client creates a run of the delivery."""
    name, replica = world.random.choice(names), world.random.randrange(2)
    world.act(replica, world.create(name, replica))


def proceed(world: World, _: tuple[str, ...]) -> None:
    """Let one actor take a step."""
    if world.actors:
        actor = world.random.choice(world.actors)
        actor.go_on(world.random)
        if actor.task.done():
            world.actors.remove(actor)
            actor.task.result()


def settle(world: World, _: tuple[str, ...]) -> None:
    """A create that was allowed is stored, or fails: a quota, another webhook, a server that died."""
    if world.pending:
        pending = world.random.choice(world.pending)
        if world.random.random() < 0.3:
            world.pending.remove(pending)
        elif (stored := world.commit(pending)) is not None:
            nothing_stored_twice(world, stored)


def elapse(world: World, _: tuple[str, ...]) -> None:
    """Time passes: within a webhook call, a request, a lease; replicas do what they do again and again."""
    world.now += world.random.choice((0.05, 0.1, 0.3, 0.3, 1.0, 1.0, 1.0, 5.0, 8.0, 31.0, 61.0, 95.0))
    for replica in range(2):
        if world.random.random() < 0.8:
            world.act(replica, world.background(replica))


def outlive(world: World, _: tuple[str, ...]) -> None:
    """The retention passes."""
    world.now += 3700.0


def watch(world: World, _: tuple[str, ...]) -> None:
    """The controller's watch shows all stored runs."""
    for run in list(world.storage.runs.values()):
        world.act(2, world.watch(run))


def delete(world: World, _: tuple[str, ...]) -> None:
    """A run is deleted."""
    if world.storage.runs:
        run = world.random.choice(list(world.storage.runs.values()))
        noticed = not world.faults.unnoticed or world.random.random() < 0.5
        world.act(3, world.delete(run, noticed=noticed))


def crash(world: World, _: tuple[str, ...]) -> None:
    """A replica or the controller dies, and with it everything that was under way in it."""
    dead = world.random.randrange(3)
    for actor in [actor for actor in world.actors if actor.process == dead]:
        actor.die()
        world.actors.remove(actor)
    if dead < len(world.replicas):
        world.replace_replica(dead)


def toggle_api_server(world: World, _: tuple[str, ...]) -> None:
    """The API server stops answering reads, or answers again."""
    world.storage.down = not world.storage.down


def forget(world: World, _: tuple[str, ...]) -> None:
    """An operator forgets the delivery's run."""
    world.act(3, world.forget())


def toggle_redis(world: World, _: tuple[str, ...]) -> None:
    """Redis stops answering, to all or to one replica, or answers again."""
    if not world.faults.outages:
        return
    chosen = range(3) if world.random.random() < 0.7 else [world.random.randrange(2)]
    reachable = not all(world.reachable)
    for process in range(3) if reachable else chosen:
        world.reach(process, reachable=reachable)


def restart_redis(world: World, _: tuple[str, ...]) -> None:
    """Redis restarts with all its data, is emptied, or a server takes over that does not have the latest writes."""
    if world.faults.outages:
        world.restart_redis(world.random.choice((None, None, ({}, {}), world.snapshot)))


def replicate(world: World, _: tuple[str, ...]) -> None:
    """The server that may take over gets all writes."""
    world.snapshot = world.redis.data()


def rebuild(world: World, _: tuple[str, ...]) -> None:
    """A replica rebuilds if it is necessary."""
    replica = world.random.randrange(2)
    world.act(replica, world.rebuild(replica))


def step_clock(world: World, _: tuple[str, ...]) -> None:
    """The clock of Redis jumps, forward or back."""
    if world.faults.clocks:
        world.set_clock(world.random.choice((0.0, 0.0, 3.0, 120.0, 600.0, -120.0, -600.0)))


def lose_state(world: World, _: tuple[str, ...]) -> None:
    """The state at the API server is emptied, deleted, or made again."""
    if not world.faults.outages:
        return
    if world.storage.state is None:
        world.storage.install_state()
    elif world.random.random() < 0.5:
        world.storage.state = None
    else:
        world.storage.state.pop("data", None)
        world.storage.touch_state()
    world.losses.append(world.now)


#: The events, and how often of about a thousand times each happens.
EVENTS: Final = {
    create: 80,
    proceed: 680,
    settle: 80,
    elapse: 50,
    watch: 15,
    delete: 25,
    crash: 6,
    toggle_api_server: 4,
    forget: 3,
    outlive: 3,
    toggle_redis: 8,
    restart_redis: 4,
    replicate: 6,
    rebuild: 15,
    step_clock: 2,
    lose_state: 1,
}


def nothing_stored_twice(world: World, second: Stored) -> None:
    """Check that a run that was just stored is the only one of its delivery, except for the documented limits."""
    for first in world.stored:
        if first is not second and world.counts(first) and not is_documented(world, first, second):
            pytest.fail(f"{first.run.name} ({first.verdict}) and then {second.run.name} ({second.verdict}) were stored")


def is_documented(world: World, first: Stored, second: Stored) -> bool:
    """Return whether a second run is a row of "What can still go wrong"."""
    history = History(
        now=world.now,
        retention=world.settings.retention.total_seconds(),
        losses=world.losses,
        outages=world.outages,
        most_ahead=world.most_ahead,
        denied=world.settings.on_redis_down is OnRedisDown.DENY,
        forgotten=any(second.run.uid == gone.uid for gone in world.forgotten),
    )
    return limit_of(kept(first), kept(second), history) is not None


def kept(stored: Stored) -> Kept:
    """Return what the table of limits needs to know of a run."""
    run, deletion = stored.run, (stored.deleted_at, stored.noticed)
    allowed = (stored.verdict, stored.allowed_at, stored.at, stored.unproved)
    return Kept(run.name, run.created_at, *allowed, *deletion)


def heal(world: World) -> None:
    """End all faults and let time pass until every lease is over."""
    world.end()
    world.pending.clear()
    world.faults = Faults()
    world.storage.down = False
    if world.storage.state is None:
        world.storage.install_state()
    for process in range(3):
        world.reach(process, reachable=True)
    world.set_clock(0.0)
    for run in list(world.storage.runs.values()):
        world.finish(world.watch(run))
    calm(world)


def calm(world: World) -> None:
    """Let time pass in which nothing happens, until the replicas have settled everything."""
    for _ in range(4):
        # The first pass may be the one that notices a loss, and what is pending is read again and again.
        for _ in range(2):
            for replica in range(2):
                world.finish(world.background(replica))
        world.now += 110.0
    for _ in range(2):
        for replica in range(2):
            world.finish(world.background(replica))
        assert world.finish(world.rebuild())
        world.now += 1.0


def no_delivery_is_blocked(world: World) -> None:
    """Check the answers so far, the answer now, and the answer after the retention."""
    assert set(world.answers) <= {stored.run.name for stored in world.stored}
    counting = [stored for stored in world.stored if world.counts(stored)]
    verdict = world.finish(world.create("afterwards", 0))
    if verdict is Verdict.UNAVAILABLE:
        # This create may be the first to notice that the clock of Redis was set right.
        calm(world)
        verdict = world.finish(world.create("afterwards", 0))
    if verdict is Verdict.UNAVAILABLE and world.settings.on_unproved is OnUnproved.DENY:
        # It may be that a run was stored and deleted, so an operator has to free the delivery.
        world.finish(world.forget())
        verdict = world.finish(world.create("afterwards", 0))
        assert verdict is Verdict.ALLOW
        return
    if not world.forgotten:
        assert verdict is Verdict.DUPLICATE if any(s.deleted_at is None for s in counting) else verdict is not None
    assert verdict in ({Verdict.DUPLICATE, Verdict.ALLOW} if world.stored else {Verdict.ALLOW}), verdict
    if not counting and not world.forgotten:
        assert verdict is Verdict.ALLOW
    world.now += world.settings.retention.total_seconds() + 200.0
    calm(world)
    assert world.finish(world.create("much-later", 1)) is Verdict.ALLOW


HOUR: Final = timedelta(hours=1)
EVERYTHING: Final = Faults(0.05, outages=True, unnoticed=True, clocks=True)


@pytest.mark.parametrize(
    ("settings", "names", "faults"),
    [
        pytest.param(
            DedupeSettings(HOUR, OnRedisDown.DENY, on_unproved=OnUnproved.DENY),
            ("a", "b", GENERATED),
            EVERYTHING,
            id="deny-everything-fails",
        ),
        pytest.param(DedupeSettings(HOUR), ("a", "b", GENERATED), EVERYTHING, id="everything-fails"),
        pytest.param(DedupeSettings(HOUR), (GENERATED,), EVERYTHING, id="generated-names"),
        pytest.param(DedupeSettings(HOUR), ("a", "b", GENERATED), Faults(0.05), id="mixed-names"),
    ],
)
def test_one_run_and_no_delivery_blocked(settings: DedupeSettings, names: tuple[str, ...], faults: Faults) -> None:
    """In thousands of random histories no delivery gets two runs, and each can be submitted again in the end."""
    stored = duplicates = 0
    for seed in range(HISTORIES):
        try:
            world = play(seed, settings, names, faults)
        except (AssertionError, pytest.fail.Exception) as error:
            raise AssertionError(f"history {seed}: {error}") from error
        stored += len(world.stored)
        duplicates += len(world.answers)
    # A model in which nothing happens would find nothing.
    assert stored > HISTORIES / 3
    assert duplicates > HISTORIES / 10
