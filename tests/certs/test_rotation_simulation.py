"""The rotation law, by simulation: what a replica serves is trusted by every API server, whatever happens meanwhile.

Rotators and replicas are run one API call at a time in an order that hypothesis chooses; between any two calls they may
be frozen for any time, or killed. API servers may see a webhook configuration late. The plan, the transitions and the
leaf rules are the real ones; only the API server is a model.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.x509 import Certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.authority import new_authority
from certs.bundle import Bundle
from certs.errors import ValidityError
from certs.leaf import HeldLeaf, is_leaf_due, new_leaf
from certs.rotation import (
    ConfirmNext,
    CreateAuthority,
    DropOld,
    Promote,
    PublishBundle,
    RotationSettings,
    ScheduleDrop,
    StageNext,
    WaitUntil,
    Why,
    plan,
)
from certs.state import CaState, confirmed, created, dropped, promoted, scheduled, staged
from tests.certs.samples import NAMES, NOW

HOUR = timedelta(hours=1)
RULES = RotationSettings(NAMES, ca_lifetime=48 * HOUR, leaf_lifetime=6 * HOUR, settle=HOUR / 2, margin=HOUR / 4)
LAG = RULES.settle
"""How late an API server may see a change: up to the settling time, that is what it is for."""


def is_valid(certificate: Certificate, now: datetime) -> bool:
    """Whether its time is now."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


@dataclass
class Config:
    """A webhook configuration with its history: (when written, bundle), the last one is what is stored."""

    history: list[tuple[datetime, Bundle]]
    version: int = 0
    wiped: bool = False

    def seen(self, now: datetime, lag: timedelta) -> list[Bundle]:
        """Every bundle that some API server may still go by."""
        ends = [when for when, _ in self.history[1:]] + [now]
        return [b for (_, b), end in zip(self.history, ends, strict=True) if end > now - lag] + [self.stored]

    @property
    def stored(self) -> Bundle:
        """What a read returns."""
        return self.history[-1][1]

    def write(self, when: datetime, bundle: Bundle) -> None:
        """One update."""
        # Whoever wiped it broke calls until all API servers have seen the repair.
        self.history = [*([] if self.wiped else self.history), (when, bundle)]
        self.wiped = False
        self.version += 1


@dataclass
class World:
    """Cluster, clock and programs."""

    now: datetime = NOW
    real: datetime = NOW
    configs: list[Config] = field(default_factory=lambda: [Config([(NOW, Bundle())], wiped=True) for _ in "ab"])
    secret: CaState | None = None
    version: int = 0
    held: dict[int, HeldLeaf] = field(default_factory=dict)
    lag: timedelta = LAG
    hurried: set[str] = field(default_factory=set)
    """CAs that may sign before all API servers trust them, since there was nothing better to serve; until they do."""
    forgotten: set[str] = field(default_factory=set)
    """CAs of which nothing was left: every configuration had been wiped when the Secret was lost."""

    def swap(self, state: CaState | None, expected: int) -> bool:
        """Compare-and-swap of the Secret."""
        if expected != self.version:
            return False
        self.secret, self.version = state, self.version + 1
        return True

    def rotator(self) -> Iterator[bool]:
        """One rotator; yields between API calls, True where it would sleep."""
        while True:
            versions = [config.version for config in self.configs]
            published = tuple(config.stored for config in self.configs)
            nothing_left = all(config.wiped for config in self.configs)
            yield False
            state, version = self.secret, self.version
            yield False
            if state is None:
                published = tuple(config.stored for config in self.configs)
                nothing_left = all(config.wiped for config in self.configs)
                yield False
            now = self.now
            step = plan(state, published, now=now, settings=RULES)
            yield False
            if isinstance(step, WaitUntil):
                assert step.moment > now
                yield True
            elif isinstance(step, PublishBundle):
                for config, read in zip(self.configs, versions, strict=True):
                    if config.version == read and config.stored != step.bundle:
                        config.write(self.real, step.bundle)
                    yield False
            else:
                written = self.swap(self.after(step, state, now), version)
                if written and isinstance(step, CreateAuthority) and nothing_left:
                    self.forgotten |= {held.authority for held in self.held.values()}
                yield False

    def after(self, step: object, state: CaState | None, now: datetime) -> CaState:
        """The state that a step leads to."""
        fresh = new_authority(NAMES, now=now, lifetime=RULES.ca_lifetime)
        match step:
            case CreateAuthority(trusted):
                self.hurried.add(fresh.identity)
                return created(fresh, trusted=trusted)
        assert state is not None
        match step:
            case StageNext():
                if state.current is None:
                    self.hurried.add(fresh.identity)
                return staged(state, fresh)
            case ConfirmNext():
                return confirmed(state, now=now)
            case Promote():
                assert state.next is not None
                if state.current and not is_valid(state.current.certificate, now):
                    self.hurried.add(state.next.authority.identity)
                else:
                    self.hurried.discard(state.next.authority.identity)
                return promoted(state)
            case ScheduleDrop(drop_after):
                return scheduled(state, drop_after=drop_after)
            case DropOld():
                return dropped(state, now=now)
        raise AssertionError(step)

    def replica(self, number: int) -> Iterator[bool]:
        """One replica; yields between reading the Secret and serving a new leaf."""
        while True:
            now = self.now
            yield False
            state = self.secret
            yield False
            held = self.held.get(number)
            if state and is_leaf_due(held, state, now=now):
                try:
                    fresh = new_leaf(state, NAMES, read_at=now, lifetime=RULES.leaf_lifetime)
                except ValidityError:
                    yield True
                    continue
                works = held and not self.expired(held) and held.authority not in self.forgotten | self.hurried
                assert not (works and fresh.authority in self.hurried)
                self.held[number] = fresh
            yield True

    def expired(self, held: HeldLeaf) -> bool:
        """Whether a leaf works for nobody any more, or not yet."""
        return not is_valid(held.pair.leaf, self.now)

    def check(self) -> None:
        """The law."""
        current = self.secret.current if self.secret else None
        if current and all(
            current.identity in b.identities for config in self.configs for b in config.seen(self.real, self.lag)
        ):
            self.hurried.discard(current.identity)
        for held in self.held.values():
            if self.expired(held) or held.authority in self.forgotten | self.hurried:
                continue
            for config in self.configs:
                if config.wiped:
                    continue
                assert all(held.authority in bundle.identities for bundle in config.seen(self.real, self.lag))


MINUTES = (1, 5, 14, 16, 29, 31, 200, 241, 359, 361, 380, 1500)
"""Waits around the times that matter: margin, settling, two thirds and all of a leaf's life, most of a CA's."""
WHO = st.integers(0, 2)
COMMON = (
    st.tuples(st.just("rotator"), WHO, st.integers(1, 12)),
    st.tuples(st.just("replica"), WHO, st.integers(1, 4)),
    st.tuples(st.just("wait"), st.just(0), st.sampled_from(MINUTES)),
    st.tuples(st.just("request"), st.just(0), st.just(0)),
)
FAULTS = (
    st.tuples(st.just("kill"), WHO, st.just(0)),
    st.tuples(st.just("wipe"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("lose secret"), st.just(0), st.just(0)),
)
JUMPS = st.tuples(st.just("clock"), st.just(0), st.integers(1, 200))
Schedule = list[tuple[str, int, int]]


class Run:
    """A world with its programs under way."""

    def __init__(self) -> None:
        self.world = World()
        self.rotators = [self.world.rotator() for _ in range(3)]
        self.replicas = [self.world.replica(number) for number in range(3)]

    def act(self, what: str, who: int, amount: int) -> None:
        """One action of a schedule; the law holds after each API call of it."""
        world = self.world
        match what:
            case "rotator" | "replica":
                programs = self.rotators if what == "rotator" else self.replicas
                for _ in range(amount):
                    next(programs[who])
                    world.check()
            case "wait":
                self.wait(timedelta(minutes=amount))
            case "request":
                if world.secret and not world.secret.next:
                    world.swap(world.after(StageNext(Why.AGE), world.secret, world.now), world.version)
            case "kill":
                self.rotators[who] = world.rotator()
            case "wipe":
                world.configs[who].write(world.real, Bundle())
                world.configs[who].wiped = True
            case "lose secret":
                world.swap(None, world.version)
            case "clock":
                world.now += timedelta(hours=amount)
        world.check()

    def everybody(self) -> None:
        """Each program takes one step."""
        for program in (*self.rotators, *self.replicas):
            next(program)

    def wait(self, duration: timedelta) -> None:
        """Time passes, on the clock and in fact."""
        self.world.now += duration
        self.world.real += duration

    def settle_down(self) -> None:
        """Undisturbed, everything comes to rest: one CA, published and serving, within a bounded time."""
        world = self.world
        for _ in range(40):
            for _ in range(40):
                self.everybody()
            state = world.secret
            assert state is not None
            if (
                state.current
                and not state.next
                and not state.previous
                and all(config.stored == state.bundle for config in world.configs)
                and all(world.held[n].authority == state.current.identity for n in range(3))
                and not any(world.expired(world.held[n]) for n in range(3))
            ):
                return
            ends = [retired.drop_after for retired in state.previous if retired.drop_after]
            self.wait(max([HOUR / 2, *([] if state.next else (end - world.now for end in ends))]))
        raise AssertionError("the rotation got stuck")


def started() -> Run:
    """A cluster that has come up."""
    run = Run()
    run.settle_down()
    run.world.check()
    return run


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*COMMON), min_size=20, max_size=120))
def test_what_is_served_is_trusted_in_any_order_of_events(schedule: Schedule) -> None:
    """With three rotators and three replicas, each frozen at any point, and API servers that see changes late."""
    play(schedule)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*COMMON, *FAULTS), min_size=20, max_size=120))
def test_what_is_served_is_trusted_whatever_breaks(schedule: Schedule) -> None:
    """As above, with kills, wiped configurations and lost Secrets."""
    play(schedule)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(*COMMON, *FAULTS, JUMPS), min_size=10, max_size=60))
def test_a_clock_that_jumps_ahead_breaks_nothing_that_works(schedule: Schedule) -> None:
    """Leaves may expire by it, but those that have not are trusted."""
    # By API servers that are up to date: a jump can pass over the settling time.
    play(schedule, lag=timedelta())


def play(schedule: Schedule, *, lag: timedelta = LAG) -> None:
    """Runs a schedule, then leaves the programs alone and sees that they come to rest."""
    run = started()
    run.world.lag = lag
    for what, who, amount in schedule:
        run.act(what, who, amount)
    run.settle_down()
    run.world.check()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(-400, 400), st.integers(-2, 2)), min_size=1, max_size=6))
def test_after_any_moves_of_the_clock_it_comes_to_rest(moves: list[int]) -> None:
    """Days ahead and back, in any order."""
    run = started()
    for hours in moves:
        run.world.now += timedelta(hours=hours)
        for _ in range(9):
            run.everybody()
    run.settle_down()


def test_a_replica_that_was_frozen_for_a_whole_rotation_serves_nothing_untrusted() -> None:
    """It had read the Secret, and signs when the CA in it has been dropped: what it serves then has expired."""
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
    """It was about to mend a configuration, which others have mended since."""
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


def test_undisturbed_rotation() -> None:
    """Every leaf is always valid and trusted, and CAs do follow one another."""
    run = started()
    world, seen = run.world, set[str]()
    for _ in range(800):
        run.wait(HOUR / 4)
        for _ in range(8):
            run.everybody()
            world.check()
        assert not any(world.expired(held) for held in world.held.values())
        seen |= {held.authority for held in world.held.values()}
    assert len(seen) > 5
