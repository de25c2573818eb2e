"""A model of rotations: rotators and replicas that run one API call at a time.

Between any two calls they may be frozen for any time, or killed. API servers may read a webhook configuration late. The
plan, the transitions and the leaf rules are the real ones; only the API server is a model.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.x509 import Certificate

from certs.authority import new_authority
from certs.bundle import Bundle
from certs.ca_state import CaState, confirmed, created, dropped, promoted, scheduled, staged
from certs.errors import ValidityError
from certs.leaf import HeldLeaf, is_leaf_due, new_leaf
from certs.rotation_plan import (
    ConfirmNext,
    CreateAuthority,
    DropOld,
    Promote,
    PublishBundle,
    RotationSettings,
    ScheduleDrop,
    StageNext,
    StepReason,
    WaitUntil,
    plan,
)
from tests.certs.samples import NAMES, NOW, identities

HOUR = timedelta(hours=1)
RULES = RotationSettings(NAMES, ca_lifetime=48 * HOUR, leaf_lifetime=6 * HOUR, settle=HOUR / 2, margin=HOUR / 4)
#: How late an API server may read a change: up to the settling time, which exists for this reason.
LAG = RULES.settle


def is_valid(certificate: Certificate, now: datetime) -> bool:
    """Return whether a certificate is valid now."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


@dataclass
class Config:
    """A webhook configuration.

    Attributes:
        history: When it was written, and the bundle; the last entry is the present one.
        version: Its version.
        wiped: Whether its bundle was emptied and not repaired since.
    """

    history: list[tuple[datetime, Bundle]]
    version: int = 0
    wiped: bool = False

    def seen(self, now: datetime, lag: timedelta) -> list[Bundle]:
        """Return every bundle that some API server may still use."""
        ends = [when for when, _ in self.history[1:]] + [now]
        return [b for (_, b), end in zip(self.history, ends, strict=True) if end > now - lag] + [self.stored]

    @property
    def stored(self) -> Bundle:
        """The present bundle."""
        return self.history[-1][1]

    def write(self, when: datetime, bundle: Bundle) -> None:
        """Update the configuration."""
        # After a wipe, calls fail until all API servers have read the repair.
        self.history = [*([] if self.wiped else self.history), (when, bundle)]
        self.wiped = False
        self.version += 1


@dataclass
class World:
    """The cluster, its clocks and the programs.

    Attributes:
        now: The time of day, which can jump.
        real: The time that has passed in fact.
        configs: The webhook configurations.
        secret: The content of the CA Secret.
        version: Its version.
        held: The leaf of each replica.
        lag: How late API servers read a configuration.
        hurried: CAs that may sign before all API servers trust them, because there was nothing better to serve; a CA
            is removed when they do.
        forgotten: CAs that are trusted nowhere, because every configuration was empty when the Secret was lost.
    """

    now: datetime = NOW
    real: datetime = NOW
    configs: list[Config] = field(default_factory=lambda: [Config([(NOW, Bundle())], wiped=True) for _ in "ab"])
    secret: CaState | None = None
    version: int = 0
    held: dict[int, HeldLeaf] = field(default_factory=dict)
    lag: timedelta = LAG
    hurried: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)

    def swap(self, state: CaState | None, expected: int) -> bool:
        """Compare and swap the Secret."""
        if expected != self.version:
            return False
        self.secret, self.version = state, self.version + 1
        return True

    def rotator(self) -> Iterator[bool]:
        """Run one rotator; yield between API calls, True when it would sleep."""
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
        """Return the state after a step."""
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
        """Run one replica; yield between reading the Secret and serving a new leaf."""
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
        """Return whether a leaf has expired or is not valid yet."""
        return not is_valid(held.pair.leaf, self.now)

    def check(self) -> None:
        """Check that every API server trusts every valid leaf."""
        current = self.secret.current if self.secret else None
        if current and all(
            current.identity in identities(b) for config in self.configs for b in config.seen(self.real, self.lag)
        ):
            self.hurried.discard(current.identity)
        for held in self.held.values():
            if self.expired(held) or held.authority in self.forgotten | self.hurried:
                continue
            for config in self.configs:
                if config.wiped:
                    continue
                assert all(held.authority in identities(bundle) for bundle in config.seen(self.real, self.lag))


class Run:
    """A world with its running programs."""

    def __init__(self) -> None:
        self.world = World()
        self.rotators = [self.world.rotator() for _ in range(3)]
        self.replicas = [self.world.replica(number) for number in range(3)]

    def act(self, what: str, index: int, amount: int) -> None:
        """Do one action of a schedule, and check the world after each API call."""
        world = self.world
        match what:
            case "rotator" | "replica":
                programs = self.rotators if what == "rotator" else self.replicas
                for _ in range(amount):
                    next(programs[index])
                    world.check()
            case "wait":
                self.wait(timedelta(minutes=amount))
            case "request":
                if world.secret and not world.secret.next:
                    world.swap(world.after(StageNext(StepReason.AGE), world.secret, world.now), world.version)
            case "kill":
                self.rotators[index] = world.rotator()
            case "wipe":
                world.configs[index].write(world.real, Bundle())
                world.configs[index].wiped = True
            case "lose secret":
                world.swap(None, world.version)
            case "clock":
                world.now += timedelta(hours=amount)
        world.check()

    def step_all(self) -> None:
        """Let each program take one step."""
        for program in (*self.rotators, *self.replicas):
            next(program)

    def wait(self, duration: timedelta) -> None:
        """Let time pass, on the clock and in fact."""
        self.world.now += duration
        self.world.real += duration

    def settle_down(self) -> None:
        """Run without faults until one CA is published and signs; fail if that takes too long."""
        world = self.world
        for _ in range(40):
            for _ in range(40):
                self.step_all()
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
    """Return a cluster in which one CA is published and signs."""
    run = Run()
    run.settle_down()
    run.world.check()
    return run
