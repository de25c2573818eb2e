"""The rotation plan: choose the next step from the present state. Pure.

A rotation puts the next CA into the Secret, publishes {current, next}, confirms that every webhook trusts both, waits,
lets the next CA sign, and drops the old one after its last leaf has expired. The only memory between steps is the
Secret, so any rotator can continue after a crash or beside another rotator.

Four rules make that safe with several rotators, each of which may be frozen at any point:

- The Secret changes by compare-and-swap only.
- A bundle is written to a webhook configuration only if the configuration still has the version that was read BEFORE
  the Secret that the bundle comes from: once a configuration was seen to hold the next CA, only bundles of later
  Secrets can follow.
- If there is no usable Secret, the configurations are read once more AFTER it, so that everything it published stays
  trusted.
- The clock is read AFTER the Secret, so that a time written to the Secret is never earlier than the event that it
  describes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from certs.authority import Authority, permits
from certs.bundle import Bundle, bundle_of
from certs.ca_state import CaState, Staged
from certs.errors import SettingsError
from certs.names import ServingNames

#: How many certificates of a lost Secret are kept at most; each makes every webhook configuration larger.
MAX_TRUSTED: Final = 16


@dataclass(frozen=True, slots=True)
class RotationSettings:
    """Names and lifetimes.

    Attributes:
        names: The names of leaves; a CA that does not permit them is replaced.
        ca_lifetime: Lifetime of a CA. The next CA is created when a third of it is left.
        leaf_lifetime: Lifetime of a leaf; the same for every replica, because it decides when an old CA is dropped.
        settle: Time from the confirmation to the first leaf of the next CA: longer than API servers need to read a
            changed webhook configuration.
        margin: How much the clocks of rotator, replicas and API servers may differ; an old CA is trusted that much
            longer than its leaves.

    Raises:
        SettingsError: They cannot work together.
    """

    names: ServingNames
    ca_lifetime: timedelta = timedelta(days=365)
    leaf_lifetime: timedelta = timedelta(days=1)
    settle: timedelta = timedelta(minutes=1)
    margin: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        """Reject lifetimes that cannot work together."""
        if min(self.ca_lifetime, self.leaf_lifetime) <= timedelta() or min(self.settle, self.margin) < timedelta():
            raise SettingsError("certificate lifetimes must be positive, and waiting times not negative")
        if self.renew_before < self.leaf_lifetime + self.settle:
            raise SettingsError(
                "a third of the CA's lifetime must be longer than a leaf's lifetime and the settling time together; "
                "give the CA a longer lifetime or leaves a shorter one"
            )

    @property
    def renew_before(self) -> timedelta:
        """How long before its end a CA is replaced."""
        return self.ca_lifetime / 3


class StepReason(StrEnum):
    """Why a CA is created, or why the rotator waits."""

    AGE = "the CA is close to its end"
    CLOCK = "the CA is not valid yet by this clock"
    NAMES = "the CA does not permit the names to serve"
    SETTLING = "API servers have to read the bundle with the next CA"
    OLD_LEAVES = "leaves of the previous CA are still valid"
    REST = "nothing is due"


@dataclass(frozen=True, slots=True)
class CreateAuthority:
    """Create the first CA and write it to the Secret.

    Attributes:
        trusted: The CAs of a lost Secret that webhooks still trust.
    """

    trusted: Bundle


@dataclass(frozen=True, slots=True)
class StageNext:
    """Create a CA and write it to the Secret as the next one."""

    reason: StepReason


@dataclass(frozen=True, slots=True)
class PublishBundle:
    """Write this bundle to every webhook that has another."""

    bundle: Bundle


@dataclass(frozen=True, slots=True)
class ConfirmNext:
    """Write to the Secret that every webhook trusts the next CA."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Write to the Secret that the next CA signs."""


@dataclass(frozen=True, slots=True)
class ScheduleDrop:
    """Write to the Secret until when the CAs that were retired last have to be trusted."""

    drop_after: datetime


@dataclass(frozen=True, slots=True)
class DropOld:
    """Remove CAs from the Secret that no valid leaf needs."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Do nothing before this moment, unless something changes."""

    moment: datetime
    reason: StepReason


Step = CreateAuthority | StageNext | PublishBundle | ConfirmNext | Promote | ScheduleDrop | DropOld | WaitUntil


def plan(state: CaState | None, published: tuple[Bundle, ...], *, now: datetime, settings: RotationSettings) -> Step:
    """Return the next step.

    Args:
        state: The content of the Secret; None if it is missing, empty or cannot be understood.
        published: The bundle of each webhook of this installation, read before the Secret.
        now: The time of day, read after both.
        settings: Names and lifetimes.
    """
    if state is None:
        trusted = bundle_of(c for bundle in published for c in bundle.valid_at(now).certificates)
        return CreateAuthority(Bundle(trusted.certificates[:MAX_TRUSTED]))
    if any(bundle != state.bundle for bundle in published):
        return PublishBundle(state.bundle)
    if any(retired.drop_after is None for retired in state.previous):
        return ScheduleDrop(now + settings.leaf_lifetime + settings.margin)
    if state.next:
        return _replace_signer(state, state.next, now=now, settings=settings)
    return _keep_signer(state, state.signer, now=now, settings=settings)


def _keep_signer(state: CaState, authority: Authority, *, now: datetime, settings: RotationSettings) -> Step:
    due = _due(authority, now=now, settings=settings)
    if due:
        return StageNext(due)
    ends = [retired.drop_after for retired in state.previous if retired.drop_after]
    if any(now > end for end in ends):
        return DropOld()
    # One second later, because a leaf is valid up to and including its last second.
    renewal = _renewal(authority, settings)
    drop = min(ends) + timedelta(seconds=1) if ends else renewal
    return WaitUntil(drop, StepReason.OLD_LEAVES) if drop < renewal else WaitUntil(renewal, StepReason.REST)


def _replace_signer(state: CaState, following: Staged, *, now: datetime, settings: RotationSettings) -> Step:
    due = _due(following.authority, now=now, settings=settings)
    if due:
        return StageNext(due)
    # A confirmation in the future means that the clock was set back: the waiting time starts again.
    if following.confirmed_at is None or following.confirmed_at > now:
        return ConfirmNext()
    # If the current CA is not valid, no leaf works, and waiting would only prolong the outage.
    must_wait = state.current is None or _is_valid(state.current, now)
    ready = following.confirmed_at + (settings.settle if must_wait else timedelta())
    return WaitUntil(ready, StepReason.SETTLING) if now < ready else Promote()


def _due(authority: Authority, *, now: datetime, settings: RotationSettings) -> StepReason | None:
    certificate = authority.certificate
    if now < certificate.not_valid_before_utc:
        return StepReason.CLOCK
    if now >= _renewal(authority, settings):
        return StepReason.AGE
    return None if permits(certificate, settings.names) else StepReason.NAMES


def _renewal(authority: Authority, settings: RotationSettings) -> datetime:
    return authority.certificate.not_valid_after_utc - settings.renew_before


def _is_valid(authority: Authority, now: datetime) -> bool:
    return authority.certificate.not_valid_before_utc <= now <= authority.certificate.not_valid_after_utc
