"""The rotation plan, step by step; test_rotation_simulation.py runs whole rotations with faults."""

from datetime import timedelta

import pytest

from certs.authority import Authority
from certs.bundle import Bundle, bundle_of
from certs.ca_state import (
    CaState,
    Retired,
    Staged,
    confirmed,
    created,
    dropped,
    promoted,
    scheduled,
    staged,
    with_fresh_leaves,
)
from certs.errors import SettingsError
from certs.names import ServingNames
from certs.rotation_plan import (
    MAX_TRUSTED,
    ConfirmNext,
    CreateAuthority,
    DropOld,
    Promote,
    PublishBundle,
    RotationSettings,
    ScheduleDrop,
    StageNext,
    Step,
    StepReason,
    WaitUntil,
    plan,
)
from tests.certs.samples import DAY, NAMES, NOW, YEAR, authority

SETTINGS = RotationSettings(NAMES)
OLD, NEW, NEWER = authority(now=NOW - DAY), authority(), authority()
SECOND = timedelta(seconds=1)


def bundle(*authorities: Authority) -> Bundle:
    """Return a bundle of these CAs."""
    return bundle_of(a.certificate for a in authorities)


def step(state: CaState | None, *published: Bundle, after: timedelta = timedelta()) -> Step:
    """Return the next step at some time after NOW."""
    return plan(state, published, now=NOW + after, settings=SETTINGS)


def test_without_a_secret_an_authority_is_created() -> None:
    """If no webhook trusts another CA yet, it is the current one at once."""
    assert step(None, Bundle(), Bundle()) == CreateAuthority(Bundle())
    assert created(NEW, trusted=Bundle()) == CaState(current=NEW)


def test_a_lost_secret_keeps_what_webhooks_trust() -> None:
    """Replicas still serve leaves of the CA whose key is lost: the new one does not sign before it is trusted."""
    expired = authority(now=NOW - 2 * YEAR, lifetime=YEAR)
    assert step(None, bundle(OLD, expired), bundle(NEW)) == CreateAuthority(bundle(OLD, NEW))
    state = created(NEWER, trusted=bundle(OLD, NEW))
    assert state.current is None
    assert state.signer == NEWER
    assert state.bundle == bundle(OLD, NEW, NEWER)


def test_the_number_of_trusted_certificates_is_limited() -> None:
    """A caBundle with hundreds of certificates does not fill the Secret."""
    many = bundle(*(authority() for _ in range(MAX_TRUSTED + 3)))
    creation = step(None, many)
    assert isinstance(creation, CreateAuthority)
    assert creation.trusted.certificates == many.certificates[:MAX_TRUSTED]


def test_a_whole_rotation() -> None:
    """Each step and each wait, from rest to rest."""
    state = CaState(current=OLD)
    assert step(state, Bundle()) == PublishBundle(bundle(OLD))
    renewal = OLD.certificate.not_valid_after_utc - YEAR / 3
    assert step(state, bundle(OLD)) == WaitUntil(renewal, StepReason.REST)

    at = renewal - NOW
    assert step(state, bundle(OLD), after=at) == StageNext(StepReason.AGE)
    fresh = authority(now=NOW + at)
    state = staged(state, fresh)
    assert state.signer == OLD
    assert step(state, bundle(OLD), after=at) == PublishBundle(bundle(OLD, fresh))
    assert step(state, bundle(OLD, fresh), bundle(OLD), after=at) == PublishBundle(bundle(OLD, fresh))
    assert step(state, bundle(OLD, fresh), after=at) == ConfirmNext()
    state = confirmed(state, now=NOW + at)
    settled = NOW + at + SETTINGS.settle
    assert step(state, bundle(OLD, fresh), after=at) == WaitUntil(settled, StepReason.SETTLING)
    assert step(state, bundle(OLD, fresh), after=settled - NOW) == Promote()

    state = promoted(state)
    assert state.signer == fresh
    assert state.bundle == bundle(OLD, fresh)
    at = settled - NOW
    end = settled + SETTINGS.leaf_lifetime + SETTINGS.margin
    assert step(state, bundle(OLD, fresh), after=at) == ScheduleDrop(end)
    state = scheduled(state, drop_after=end)
    assert step(state, bundle(OLD, fresh), after=at) == WaitUntil(end + SECOND, StepReason.OLD_LEAVES)
    assert dropped(state, now=end) == state
    assert step(state, bundle(OLD, fresh), after=end + SECOND - NOW) == DropOld()
    state = dropped(state, now=end + SECOND)
    assert state == CaState(current=fresh)
    assert step(state, bundle(OLD, fresh), after=end + SECOND - NOW) == PublishBundle(bundle(fresh))


def test_without_any_webhook_a_rotation_still_goes_on() -> None:
    """Webhooks that are applied later get the whole bundle then."""
    assert step(staged(CaState(OLD), NEW)) == ConfirmNext()


def test_other_certificates_are_removed_from_a_bundle() -> None:
    """A caBundle holds the CAs of the Secret and nothing else."""
    assert step(CaState(NEW), bundle(NEW, OLD)) == PublishBundle(bundle(NEW))


def test_other_names_require_another_authority() -> None:
    """Name constraints limit a CA to the names that it was created for."""
    settings = RotationSettings(ServingNames("rollonce", "prod", "other.domain"))
    state = CaState(current=NEW)
    assert plan(state, (bundle(NEW),), now=NOW, settings=settings) == StageNext(StepReason.NAMES)
    waiting = CaState(current=NEW, next=Staged(NEWER, NOW))
    assert plan(waiting, (bundle(NEW, NEWER),), now=NOW, settings=settings) == StageNext(StepReason.NAMES)


def test_a_staged_authority_that_is_too_old_is_replaced() -> None:
    """No rotator ran for most of a year; the replaced CA has signed nothing."""
    state = staged(CaState(current=OLD), NEW)
    assert step(state, bundle(OLD, NEW), after=YEAR) == StageNext(StepReason.AGE)
    fresh = authority(now=NOW + YEAR)
    assert staged(state, fresh) == CaState(current=OLD, next=Staged(fresh))


def test_a_replaced_authority_that_may_have_signed_stays_trusted() -> None:
    """After the loss of a Secret, a replica without a leaf signs by the staged CA."""
    state = staged(created(NEW, trusted=bundle(OLD)), NEWER)
    assert state.bundle == bundle(OLD, NEW, NEWER)


def test_a_clock_set_back_is_noticed() -> None:
    """A CA from the future is replaced, and a confirmation from the future is repeated."""
    assert step(CaState(current=NEW), bundle(NEW), after=-2 * DAY) == StageNext(StepReason.CLOCK)
    state = confirmed(staged(CaState(current=OLD), NEW), now=NOW + SECOND)
    assert step(state, bundle(OLD, NEW)) == ConfirmNext()


@pytest.mark.parametrize("after", [YEAR + SECOND, -DAY], ids=["expired", "not valid yet"])
def test_an_authority_that_is_not_valid_is_replaced_without_waiting(after: timedelta) -> None:
    """None of its leaves works, so every second of waiting is an outage."""
    fresh = authority(now=NOW + after)
    state = confirmed(staged(CaState(current=NEW), fresh), now=NOW + after)
    assert step(state, bundle(NEW, fresh), after=after) == Promote()


def test_after_the_loss_of_the_current_authority_the_next_one_waits_too() -> None:
    """Replicas serve leaves of the lost CA meanwhile."""
    state = confirmed(scheduled(created(NEW, trusted=bundle(OLD)), drop_after=NOW + DAY), now=NOW)
    assert step(state, bundle(OLD, NEW)) == WaitUntil(NOW + SETTINGS.settle, StepReason.SETTLING)
    assert promoted(state) == CaState(current=NEW, previous=(Retired(OLD.certificate, NOW + DAY),))


def test_an_end_is_set_once_and_not_after_that_of_the_certificate() -> None:
    """An expired certificate need not be trusted, and an end that was set stays."""
    state = CaState(current=NEW, previous=(Retired(OLD.certificate, NOW), Retired(NEWER.certificate)))
    ends = [retired.drop_after for retired in scheduled(state, drop_after=NOW + 9 * YEAR).previous]
    assert ends == [NOW, NEWER.certificate.not_valid_after_utc]
    assert dropped(state, now=NOW + DAY).previous == (Retired(NEWER.certificate),)


def test_the_earlier_of_two_moments_is_awaited() -> None:
    """Here the renewal of the CA is earlier than the end of the old leaves."""
    renewal = NEW.certificate.not_valid_after_utc - SETTINGS.renew_before
    state = CaState(current=NEW, previous=(Retired(OLD.certificate, renewal + DAY),))
    assert step(state, bundle(NEW, OLD)) == WaitUntil(renewal, StepReason.REST)


@pytest.mark.parametrize(
    ("ca", "leaf", "settle", "margin"),
    [(0, 1, 0, 0), (10, 0, 0, 0), (10, 1, -1, 0), (10, 1, 0, -1), (3, 1, 1, 0), (3, 2, 0, 0)],
)
def test_lifetimes_that_cannot_work_are_rejected(ca: int, leaf: int, settle: int, margin: int) -> None:
    """Before any certificate is made."""
    with pytest.raises(SettingsError):
        RotationSettings(NAMES, ca * DAY, leaf * DAY, settle * DAY, margin * DAY)


def test_a_request_for_new_leaves_is_kept_in_the_state() -> None:
    """Replicas read it there."""
    state = CaState(OLD, Staged(NEW), (Retired(NEWER.certificate),))
    assert with_fresh_leaves(state, now=NOW).renew_leaves_at == NOW


def test_impossible_states_are_rejected() -> None:
    """A state has a CA that signs, and only a staged CA can be promoted."""
    with pytest.raises(ValueError, match="current CA or a next one"):
        CaState(current=None)
    with pytest.raises(ValueError, match="no CA is staged"):
        promoted(CaState(current=OLD))
