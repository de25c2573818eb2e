"""When a replica signs a new leaf."""

from datetime import timedelta

import pytest

from certs.bundle import bundle_of
from certs.ca_state import CaState, created, staged, with_fresh_leaves
from certs.leaf import is_leaf_due, new_leaf
from tests.certs.samples import DAY, NAMES, NOW, YEAR, authority

CA, OTHER = authority(now=NOW - DAY), authority(now=NOW - DAY)
STATE = CaState(current=CA)
HELD = new_leaf(STATE, NAMES, read_at=NOW, lifetime=DAY)


def test_the_first_leaf_is_due_at_once() -> None:
    """The current CA signs it."""
    assert is_leaf_due(None, STATE, now=NOW)
    assert HELD.authority == CA.identity


def test_a_leaf_is_renewed_after_two_thirds_of_its_lifetime() -> None:
    """Not before."""
    assert HELD.renew_at == NOW + timedelta(hours=16)
    assert not is_leaf_due(HELD, STATE, now=HELD.renew_at - timedelta(seconds=1))
    assert is_leaf_due(HELD, STATE, now=HELD.renew_at)


@pytest.mark.parametrize("offset", [-DAY, 2 * DAY])
def test_a_leaf_that_is_not_valid_is_replaced(offset: timedelta) -> None:
    """It has expired, or the clock was set back."""
    assert is_leaf_due(HELD, STATE, now=NOW + offset)


def test_a_promoted_authority_replaces_the_leaf_at_once() -> None:
    """A staged CA does not."""
    assert not is_leaf_due(HELD, staged(STATE, OTHER), now=NOW)
    assert is_leaf_due(HELD, CaState(current=OTHER), now=NOW)


def test_an_authority_that_is_not_trusted_yet_replaces_no_valid_leaf() -> None:
    """After the loss of the Secret, a valid leaf is kept until it expires."""
    lost = created(OTHER, trusted=bundle_of([CA.certificate]))
    assert not is_leaf_due(HELD, lost, now=HELD.renew_at)
    assert is_leaf_due(HELD, lost, now=NOW + 2 * DAY)
    assert is_leaf_due(None, lost, now=NOW)


def test_new_leaves_can_be_requested() -> None:
    """Each replica replaces its leaf once; a request from the future has no effect yet."""
    request = with_fresh_leaves(STATE, now=NOW + timedelta(hours=1))
    assert not is_leaf_due(HELD, request, now=NOW)
    assert is_leaf_due(HELD, request, now=NOW + timedelta(hours=1))
    fresh = new_leaf(request, NAMES, read_at=NOW + timedelta(hours=1), lifetime=DAY)
    assert not is_leaf_due(fresh, request, now=NOW + timedelta(hours=1))


def test_a_leaf_that_ends_with_its_authority_is_not_signed_again_and_again() -> None:
    """A new one would not be valid longer."""
    last = new_leaf(STATE, NAMES, read_at=NOW + YEAR - 2 * DAY, lifetime=9 * DAY)
    assert not is_leaf_due(last, STATE, now=NOW + YEAR - DAY - timedelta(seconds=1))
