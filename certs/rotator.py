"""The rotation loop: read the present state, take the next step of the plan, and repeat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from certs.authority import Authority, new_authority
from certs.bundle import Bundle
from certs.ca_state import CaState, confirmed, created, dropped, promoted, scheduled, staged, with_fresh_leaves
from certs.errors import CertificateError, ConflictError
from certs.injector import Injector, PublishedConfiguration
from certs.pacing import Clock, Pace
from certs.rotation_plan import (
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
from certs.secret_store import SecretStore, StoredState

#: A rotator checks everything at least this often.
CHECK_SECONDS: Final = 60.0
#: A whole rotation has fewer steps: if there are more without a wait, another writer undoes them.
_MANY_STEPS: Final = 12


@dataclass(frozen=True, slots=True)
class Progress:
    """The result of one pass of a rotator.

    Attributes:
        step: The step that was taken; None if the pass failed.
        error: Why the pass failed; it is repeated.
        state: The content of the Secret before the step.
        problem: Why the content of the Secret could not be used, so that a new CA is created.
    """

    step: Step | None
    error: CertificateError | None = None
    state: CaState | None = field(default=None, repr=False)
    problem: CertificateError | None = None


class Rotator:
    """Keep the CA Secret and the published bundles as the plan requires.

    Several rotators may run at the same time.

    Args:
        store: The CA Secret.
        injector: The webhook configurations.
        settings: Names and lifetimes.
        clock: Time of day, sleep and jitter.
    """

    def __init__(self, store: SecretStore, injector: Injector, settings: RotationSettings, *, clock: Clock) -> None:
        self._store = store
        self._injector = injector
        self._settings = settings
        self._clock = clock
        self._pace: Pace | None = None

    async def advance(self) -> Progress:
        """Take one step.

        Raises:
            ConflictError: Another writer wrote in between: call again.
            CertificateError: The API server was unavailable or refused the call.
        """
        # The order matters: see the rules in `certs.rotation_plan`.
        configurations = await self._injector.observe()
        stored = await self._store.read()
        if stored.state is None:
            # The new state has to trust what was published between the two reads.
            configurations = await self._injector.observe()
        now = self._clock.now()
        step = plan(stored.state, _bundles(configurations), now=now, settings=self._settings)
        if isinstance(step, PublishBundle):
            await self._publish(step, configurations)
        elif not isinstance(step, WaitUntil):
            await self._store.write(self._after(step, stored, now), over=stored)
        return Progress(step, state=stored.state, problem=stored.problem)

    async def make_first(self) -> bool:
        """Create the CA if there is no Secret at all, for a replica that starts before any rotator.

        Needs the rights `get` on the Secret and on the configurations, and `create` of Secrets; no right to change
        either.

        Returns:
            Whether it was created here; False if there is a Secret, whatever its content is.

        Raises:
            ConflictError: Another program created it at the same moment.
            CertificateError: The API server was unavailable or refused the call.
        """
        stored = await self._store.read()
        if stored.version is not None:
            return False
        configurations = await self._injector.observe()
        now = self._clock.now()
        step = plan(None, _bundles(configurations), now=now, settings=self._settings)
        await self._store.write(self._after(step, stored, now), over=stored)
        return True

    async def run(self, *, report: Callable[[Progress], None]) -> None:
        """Take steps until cancelled.

        Args:
            report: Called after each pass, failed ones included.
        """
        pace = self._pace = Pace(self._clock)
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
                left = (progress.step.moment - self._clock.now()).total_seconds()
                await pace.rest_until(left, longest=CHECK_SECONDS)
            elif steps > _MANY_STEPS:
                await pace.back_off()

    def wake(self) -> None:
        """Start the next pass now: the Secret or a webhook configuration has changed."""
        if self._pace:
            self._pace.wake()

    async def _publish(self, step: PublishBundle, configurations: tuple[PublishedConfiguration, ...]) -> None:
        first: CertificateError | None = None
        for configuration in configurations:
            try:
                await self._injector.publish(step.bundle, configuration)
            except CertificateError as error:
                # The others have to be written even if one cannot be.
                first = first or error
        if first:
            raise first

    def _after(self, step: Step, stored: StoredState, now: datetime) -> CaState:
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
    """Request a new CA by staging one; the rotator does the further steps.

    Returns:
        False if a rotation is under way already, or if there is no CA yet.

    Raises:
        ConflictError: Another writer wrote in between each time.
        CertificateError: The API server was unavailable or refused the call.
    """

    def change(state: CaState, now: datetime) -> CaState | None:
        fresh = new_authority(settings.names, now=now, lifetime=settings.ca_lifetime)
        return None if state.next else staged(state, fresh)

    return await _change(store, change, clock=clock)


async def request_leaves(store: SecretStore, *, clock: Clock) -> bool:
    """Request that every replica replaces its leaf.

    Returns:
        False if there is no CA yet.

    Raises:
        ConflictError: Another writer wrote in between each time.
        CertificateError: The API server was unavailable or refused the call.
    """
    return await _change(store, lambda state, now: with_fresh_leaves(state, now=now), clock=clock)


def _bundles(configurations: tuple[PublishedConfiguration, ...]) -> tuple[Bundle, ...]:
    return tuple(webhook.bundle for configuration in configurations for webhook in configuration.webhooks)


async def _change(
    store: SecretStore, change: Callable[[CaState, datetime], CaState | None], *, clock: Clock, attempts: int = 5
) -> bool:
    for _ in range(attempts):
        stored = await store.read()
        changed = change(stored.state, clock.now()) if stored.state else None
        if changed is None:
            return False
        try:
            await store.write(changed, over=stored)
        except ConflictError:
            continue
        return True
    raise ConflictError(f"the CA Secret changed {attempts} times while it was being written; try again")
