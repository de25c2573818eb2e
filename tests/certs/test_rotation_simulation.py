"""A simulation of rotations: every API server trusts what a replica serves, whatever happens.

Hypothesis chooses in which order the programs of the model run, how long they are frozen, and what fails.
"""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certs.rotation_model import HOUR, LAG, started

#: Waits close to the times that matter: margin, settling, two thirds and all of a leaf's lifetime, most of a CA's.
MINUTES = (1, 5, 14, 16, 29, 31, 200, 241, 359, 361, 380, 1500)
INDEX = st.integers(0, 2)
COMMON = (
    st.tuples(st.just("rotator"), INDEX, st.integers(1, 12)),
    st.tuples(st.just("replica"), INDEX, st.integers(1, 4)),
    st.tuples(st.just("wait"), st.just(0), st.sampled_from(MINUTES)),
    st.tuples(st.just("request"), st.just(0), st.just(0)),
)
FAULTS = (
    st.tuples(st.just("kill"), INDEX, st.just(0)),
    st.tuples(st.just("wipe"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("lose secret"), st.just(0), st.just(0)),
)
JUMPS = st.tuples(st.just("clock"), st.just(0), st.integers(1, 200))
Schedule = list[tuple[str, int, int]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*COMMON), min_size=20, max_size=120))
def test_what_is_served_is_trusted_in_any_order_of_events(schedule: Schedule) -> None:
    """Three rotators and three replicas, each frozen at any point, and API servers that read changes late."""
    play(schedule)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*COMMON, *FAULTS), min_size=20, max_size=120))
def test_what_is_served_is_trusted_whatever_breaks(schedule: Schedule) -> None:
    """As above, with killed programs, emptied configurations and lost Secrets."""
    play(schedule)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(*COMMON, *FAULTS, JUMPS), min_size=10, max_size=60))
def test_after_a_jump_of_the_clock_all_valid_leaves_are_trusted(schedule: Schedule) -> None:
    """Leaves may expire by the jump."""
    # By API servers that are up to date, because a jump can skip the settling time.
    play(schedule, lag=timedelta())


def play(schedule: Schedule, *, lag: timedelta = LAG) -> None:
    """Run a schedule, then run without faults until the programs come to rest."""
    run = started()
    run.world.lag = lag
    for what, index, amount in schedule:
        run.act(what, index, amount)
    run.settle_down()
    run.world.check()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(-400, 400), st.integers(-2, 2)), min_size=1, max_size=6))
def test_after_any_moves_of_the_clock_it_comes_to_rest(moves: list[int]) -> None:
    """The clock moves days ahead and back, in any order."""
    run = started()
    for hours in moves:
        run.world.now += timedelta(hours=hours)
        for _ in range(9):
            run.step_all()
    run.settle_down()


def test_a_replica_that_was_frozen_for_a_whole_rotation_serves_nothing_untrusted() -> None:
    """It had read the Secret, and signs after that CA was dropped: the leaf has expired then."""
    run = started()
    world = run.world
    frozen = world.replica(3)
    for _ in range(2):
        next(frozen)
    run.act("request", 0, 0)
    run.settle_down()
    next(frozen)
    assert world.held[3].authority != world.held[0].authority
    assert world.expired(world.held[3])
    world.check()


def test_a_rotator_that_was_frozen_for_a_whole_rotation_writes_nothing_old() -> None:
    """It was about to repair a configuration, which others have repaired since."""
    run = started()
    world = run.world
    run.act("wipe", 0, 0)
    frozen = world.rotator()
    for _ in range(3):
        next(frozen)
    run.act("request", 0, 0)
    run.settle_down()
    for _ in range(3):
        next(frozen)
        world.check()


def test_rotations_without_faults() -> None:
    """Every leaf is always valid and trusted, and several CAs sign one after another."""
    run = started()
    world, seen = run.world, set[str]()
    for _ in range(800):
        run.wait(HOUR / 4)
        for _ in range(8):
            run.step_all()
            world.check()
        assert not any(world.expired(held) for held in world.held.values())
        seen |= {held.authority for held in world.held.values()}
    assert len(seen) > 5
