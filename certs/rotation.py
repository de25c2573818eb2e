"""The rotation plan: from what is, the one next step. Pure.

Stage the next CA in the Secret, publish {current, next}, confirm and wait, sign with the next, drop the old one after
its last leaf has expired. Nothing is remembered between steps but what the Secret says, so whoever comes next, after a
crash or beside another rotator, continues.

Four rules make that safe with several rotators, each of which may be frozen at any point:

- The Secret changes by compare-and-swap only.
- A bundle is written to a webhook configuration only on top of the version that was read BEFORE the Secret that the
  bundle comes from: once a configuration was seen to hold the next CA, only bundles of later Secrets can follow.
- Where there is no usable Secret, the configurations are read once more AFTER it, so that whatever it published is
  trusted on.
- The clock is read AFTER the Secret, so that a time noted in it is never before what it is about.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from certs.authority import Authority, permits
from certs.bundle import Bundle, bundle_of
from certs.errors import SettingsError
from certs.names import ServingNames
from certs.state import CaState, Staged

MOST_TRUSTED = 16
"""So many certificates of a lost Secret are kept at most; each makes every webhook configuration larger."""


@dataclass(frozen=True, slots=True)
class RotationSettings:
    """How long things live.

    Args:
        names: What leaves are called; a CA that does not permit them is replaced.
        ca_lifetime: Of a CA. Its successor is staged when a third is left.
        leaf_lifetime: Of a leaf; the same for every replica, since old CAs are dropped by it.
        settle: From the confirmation to the first leaf of the next CA: longer than API servers need to notice a
            changed webhook configuration.
        margin: By how much the clocks of rotator, replicas and API servers may differ; an old CA is trusted so
            much longer than its leaves.

    Raises:
        SettingsError: They cannot work together.
    """

    names: ServingNames
    ca_lifetime: timedelta = timedelta(days=365)
    leaf_lifetime: timedelta = timedelta(days=1)
    settle: timedelta = timedelta(minutes=1)
    margin: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        if min(self.ca_lifetime, self.leaf_lifetime) <= timedelta() or min(self.settle, self.margin) < timedelta():
            raise SettingsError("certificate lifetimes must be positive, and waiting times not negative")
        if self.renew_before < self.leaf_lifetime + self.settle:
            raise SettingsError(
                "a third of the CA's lifetime must be longer than a leaf's lifetime and the settling time together; "
                "give the CA a longer life or leaves a shorter one"
            )

    @property
    def renew_before(self) -> timedelta:
        """How long before its end a CA is replaced."""
        return self.ca_lifetime / 3


class Why(StrEnum):
    """Why a CA is made or a time awaited."""

    AGE = "the CA nears its end"
    CLOCK = "the CA is not valid yet by this clock"
    NAMES = "the CA does not permit the names to serve"
    SETTLING = "API servers take up the next CA"
    OLD_LEAVES = "leaves of the previous CA are still valid"
    REST = "nothing is due"


@dataclass(frozen=True, slots=True)
class CreateAuthority:
    """Make the first CA and put it in the Secret; `trusted` is what webhooks trust from before."""

    trusted: Bundle


@dataclass(frozen=True, slots=True)
class StageNext:
    """Make a CA and put it in the Secret as the next one."""

    why: Why


@dataclass(frozen=True, slots=True)
class PublishBundle:
    """Write this bundle to every webhook that has another."""

    bundle: Bundle


@dataclass(frozen=True, slots=True)
class ConfirmNext:
    """Note in the Secret that every webhook trusts the next CA."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Let the next CA sign."""


@dataclass(frozen=True, slots=True)
class ScheduleDrop:
    """Note in the Secret until when the CAs that were retired just now have to be trusted."""

    drop_after: datetime


@dataclass(frozen=True, slots=True)
class DropOld:
    """Take CAs out of the Secret that no valid leaf needs."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing to do before this moment, unless something changes."""

    moment: datetime
    why: Why


Step = CreateAuthority | StageNext | PublishBundle | ConfirmNext | Promote | ScheduleDrop | DropOld | WaitUntil


def plan(state: CaState | None, published: tuple[Bundle, ...], *, now: datetime, settings: RotationSettings) -> Step:
    """What to do next.

    Args:
        state: What the Secret says; None where it is missing, empty or cannot be understood.
        published: The bundle of each webhook that calls us, read before the Secret.
        now: The wall clock, read after both.
        settings: Lifetimes and names.
    """
    if state is None:
        trusted = bundle_of(c for bundle in published for c in bundle.valid_at(now).certificates)
        return CreateAuthority(Bundle(trusted.certificates[:MOST_TRUSTED]))
    if any(bundle != state.bundle for bundle in published):
        return PublishBundle(state.bundle)
    if any(retired.drop_after is None for retired in state.previous):
        return ScheduleDrop(now + settings.leaf_lifetime + settings.margin)
    if state.next:
        return _take_over(state, state.next, now=now, settings=settings)
    return _keep(state, state.signer, now=now, settings=settings)


def _keep(state: CaState, authority: Authority, *, now: datetime, settings: RotationSettings) -> Step:
    due = _due(authority, now=now, settings=settings)
    if due:
        return StageNext(due)
    ends = [retired.drop_after for retired in state.previous if retired.drop_after]
    if any(now > end for end in ends):
        return DropOld()
    # A moment later, since a leaf is valid up to and including its last second.
    renewal = _renewal(authority, settings)
    drop = min(ends) + timedelta(seconds=1) if ends else renewal
    return WaitUntil(drop, Why.OLD_LEAVES) if drop < renewal else WaitUntil(renewal, Why.REST)


def _take_over(state: CaState, following: Staged, *, now: datetime, settings: RotationSettings) -> Step:
    due = _due(following.authority, now=now, settings=settings)
    if due:
        return StageNext(due)
    # A confirmation from the future means that the clock was set back: the waiting time starts again.
    if following.confirmed_at is None or following.confirmed_at > now:
        return ConfirmNext()
    # A CA out of its time has no leaf that works; there is nothing to be careful about.
    careful = state.current is None or _is_valid(state.current, now)
    ready = following.confirmed_at + (settings.settle if careful else timedelta())
    return WaitUntil(ready, Why.SETTLING) if now < ready else Promote()


def _due(authority: Authority, *, now: datetime, settings: RotationSettings) -> Why | None:
    certificate = authority.certificate
    if now < certificate.not_valid_before_utc:
        return Why.CLOCK
    if now >= _renewal(authority, settings):
        return Why.AGE
    return None if permits(certificate, settings.names) else Why.NAMES


def _renewal(authority: Authority, settings: RotationSettings) -> datetime:
    return authority.certificate.not_valid_after_utc - settings.renew_before


def _is_valid(authority: Authority, now: datetime) -> bool:
    return authority.certificate.not_valid_before_utc <= now <= authority.certificate.not_valid_after_utc
