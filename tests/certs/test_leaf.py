"""When a replica takes a new leaf."""

from datetime import timedelta

import pytest

from certs.bundle import bundle_of
from certs.leaf import is_leaf_due, new_leaf
from certs.state import CaState, created, staged, with_fresh_leaves
from tests.certs.samples import DAY, NAMES, NOW, YEAR, authority

CA, OTHER = authority(now=NOW - DAY), authority(now=NOW - DAY)
STATE = CaState(current=CA)
HELD = new_leaf(STATE, NAMES, read_at=NOW, lifetime=DAY)


def test_the_first_leaf_is_due_at_once() -> None:
    """Signed by the current CA."""
    assert is_leaf_due(None, STATE, now=NOW)
    assert HELD.authority == CA.identity


def test_a_leaf_is_renewed_after_two_thirds_of_its_life() -> None:
    """Not before, so that replicas sign seldom."""
    assert HELD.renew_at == NOW + timedelta(hours=16)
    assert not is_leaf_due(HELD, STATE, now=HELD.renew_at - timedelta(seconds=1))
    assert is_leaf_due(HELD, STATE, now=HELD.renew_at)


@pytest.mark.parametrize("offset", [-DAY, 2 * DAY])
def test_a_leaf_out_of_its_time_is_replaced(offset: timedelta) -> None:
    """Also where the clock was set back."""
    assert is_leaf_due(HELD, STATE, now=NOW + offset)


def test_a_promoted_authority_replaces_the_leaf_at_once() -> None:
    """A staged one does not."""
    assert not is_leaf_due(HELD, staged(STATE, OTHER), now=NOW)
    assert is_leaf_due(HELD, CaState(current=OTHER), now=NOW)


def test_an_authority_that_is_not_trusted_yet_replaces_nothing_that_works() -> None:
    """After the loss of the Secret a valid leaf is kept until its time is over."""
    lost = created(OTHER, trusted=bundle_of([CA.certificate]))
    assert not is_leaf_due(HELD, lost, now=HELD.renew_at)
    assert is_leaf_due(HELD, lost, now=NOW + 2 * DAY)
    assert is_leaf_due(None, lost, now=NOW)


def test_an_operator_can_ask_for_fresh_leaves() -> None:
    """Once: the fresh leaf is newer than the wish; a wish from the future waits."""
    wish = with_fresh_leaves(STATE, now=NOW + timedelta(hours=1))
    assert not is_leaf_due(HELD, wish, now=NOW)
    assert is_leaf_due(HELD, wish, now=NOW + timedelta(hours=1))
    fresh = new_leaf(wish, NAMES, read_at=NOW + timedelta(hours=1), lifetime=DAY)
    assert not is_leaf_due(fresh, wish, now=NOW + timedelta(hours=1))


def test_a_leaf_that_ends_with_its_authority_is_not_signed_again_and_again() -> None:
    """It would not live longer."""
    last = new_leaf(STATE, NAMES, read_at=NOW + YEAR - 2 * DAY, lifetime=9 * DAY)
    assert not is_leaf_due(last, STATE, now=NOW + YEAR - DAY - timedelta(seconds=1))
