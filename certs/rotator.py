"""Carries out the rotation plan: reads what is, takes the next step, and begins again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from certs.authority import Authority, new_authority
from certs.errors import CertificateError, ConflictError
from certs.injector import Injector, PublishedConfiguration
from certs.pacing import Chance, Clock, Pace, Sleep
from certs.rotation import (
    ConfirmNext,
    CreateAuthority,
    DropOld,
    Promote,
    PublishBundle,
    RotationSettings,
    ScheduleDrop,
    StageNext,
    Step,
    WaitUntil,
    plan,
)
from certs.secret_store import SecretStore, Stored
from certs.state import CaState, confirmed, created, dropped, promoted, scheduled, staged, with_fresh_leaves

CHECK_SECONDS = 60.0
"""A rotator looks at everything at least this often."""

_MANY_STEPS = 12
"""A whole rotation has fewer steps: whoever takes more without a rest is at odds with another writer."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one pass of a rotator did.

    Args:
        step: What it did, or tried; None where it could not even find out.
        error: Why it could not; the pass is repeated.
        state: The Secret's state before the step.
        problem: Why the Secret's content could not be used, so that it is made anew.
    """

    step: Step | None
    error: CertificateError | None = None
    state: CaState | None = field(default=None, repr=False)
    problem: CertificateError | None = None


class Rotator:
    """Keeps the CA Secret and the published bundles as the plan wants them.

    Several may run at once without harm.

    Args:
        store: The CA Secret.
        injector: The webhook configurations.
        settings: Lifetimes and names.
        clock: The wall clock.
    """

    def __init__(self, store: SecretStore, injector: Injector, settings: RotationSettings, *, clock: Clock) -> None:
        self._store = store
        self._injector = injector
        self._settings = settings
        self._clock = clock
        self._pace: Pace | None = None

    async def advance(self) -> Progress:
        """Takes one step.

        Raises:
            ConflictError: Somebody else wrote in between: call again.
            CertificateError: The API server was not there or refused.
        """
        # In this order: see the rules in `certs.rotation`.
        configurations = await self._injector.observe()
        stored = await self._store.read()
        if stored.state is None:
            # What was published between the two reads would not be trusted by the state that is made now.
            configurations = await self._injector.observe()
        now = self._clock()
        published = tuple(webhook.bundle for one in configurations for webhook in one.webhooks)
        step = plan(stored.state, published, now=now, settings=self._settings)
        if isinstance(step, PublishBundle):
            await self._publish(step, configurations)
        elif not isinstance(step, WaitUntil):
            await self._store.write(self._after(step, stored, now), over=stored)
        return Progress(step, state=stored.state, problem=stored.problem)

    async def make_first(self) -> bool:
        """Makes the CA where there is no Secret at all, for a replica that starts before any rotator.

        Needs `get` on the Secret and on the configurations, and `create` of Secrets, but no right to change either.

        Returns:
            Whether it was made here; False where there is a Secret, whatever is in it.

        Raises:
            ConflictError: Somebody else made it at the same moment.
            CertificateError: The API server was not there or refused.
        """
        stored = await self._store.read()
        if stored.version is not None:
            return False
        configurations = await self._injector.observe()
        now = self._clock()
        published = tuple(webhook.bundle for one in configurations for webhook in one.webhooks)
        step = plan(None, published, now=now, settings=self._settings)
        await self._store.write(self._after(step, stored, now), over=stored)
        return True

    async def run(self, *, sleep: Sleep, chance: Chance, report: Callable[[Progress], None]) -> None:
        """Runs until it is cancelled.

        Args:
            sleep: Waits for so many seconds.
            chance: A random number from 0 to 1.
            report: Told of each pass, also of those that failed.
        """
        pace = self._pace = Pace(sleep=sleep, chance=chance)
        steps = 0
        while True:
            try:
                progress = await self.advance()
            except CertificateError as error:
                report(Progress(None, error))
                await pace.back_off()
                continue
            report(progress)
            steps = 0 if isinstance(progress.step, WaitUntil) else steps + 1
            if isinstance(progress.step, WaitUntil):
                left = (progress.step.moment - self._clock()).total_seconds()
                await pace.rest_until(left, longest=CHECK_SECONDS)
            elif steps > _MANY_STEPS:
                await pace.back_off()

    def wake(self) -> None:
        """Looks at once: a watch has seen the Secret or a webhook configuration change."""
        if self._pace:
            self._pace.wake()

    async def _publish(self, step: PublishBundle, configurations: tuple[PublishedConfiguration, ...]) -> None:
        first: CertificateError | None = None
        for configuration in configurations:
            try:
                await self._injector.publish(step.bundle, configuration)
            except CertificateError as error:
                # One that cannot be written must not keep the others from being mended.
                first = first or error
        if first:
            raise first

    def _after(self, step: Step, stored: Stored, now: datetime) -> CaState:
        match step, stored.state:
            case CreateAuthority(trusted), _:
                return created(self._authority(now), trusted=trusted)
            case StageNext(), CaState() as state:
                return staged(state, self._authority(now))
            case ConfirmNext(), CaState() as state:
                return confirmed(state, now=now)
            case Promote(), CaState() as state:
                return promoted(state)
            case ScheduleDrop(drop_after), CaState() as state:
                return scheduled(state, drop_after=drop_after)
            case DropOld(), CaState() as state:
                return dropped(state, now=now)
        raise AssertionError(f"{step} is not written to the Secret")

    def _authority(self, now: datetime) -> Authority:
        return new_authority(self._settings.names, now=now, lifetime=self._settings.ca_lifetime)


async def request_authority(store: SecretStore, settings: RotationSettings, *, clock: Clock) -> bool:
    """Asks for a new CA by staging one; the rotator takes it from there.

    Returns:
        False where a rotation is under way already, or there is no CA yet.

    Raises:
        ConflictError: Somebody else wrote in between each time.
        CertificateError: The API server was not there or refused.
    """

    def change(state: CaState, now: datetime) -> CaState | None:
        fresh = new_authority(settings.names, now=now, lifetime=settings.ca_lifetime)
        return None if state.next else staged(state, fresh)

    return await _change(store, change, clock=clock)


async def request_leaves(store: SecretStore, *, clock: Clock) -> bool:
    """Asks every replica for a fresh leaf.

    Returns:
        False where there is no CA yet.

    Raises:
        ConflictError: Somebody else wrote in between each time.
        CertificateError: The API server was not there or refused.
    """
    return await _change(store, lambda state, now: with_fresh_leaves(state, now=now), clock=clock)


async def _change(
    store: SecretStore, change: Callable[[CaState, datetime], CaState | None], *, clock: Clock, attempts: int = 5
) -> bool:
    for _ in range(attempts):
        stored = await store.read()
        changed = change(stored.state, clock()) if stored.state else None
        if changed is None:
            return False
        try:
            await store.write(changed, over=stored)
        except ConflictError:
            continue
        return True
    raise ConflictError(f"the CA Secret changed {attempts} times while it was being written; try again")
