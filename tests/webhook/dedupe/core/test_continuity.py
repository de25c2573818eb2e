"""Whether what was written to the ledger is still there."""

from __future__ import annotations

import pytest

from webhook.dedupe.core.continuity import Continuity
from webhook.dedupe.core.ledger import Ledger, Server

OURS, OTHERS = Ledger(servers={"me": Server(1.0), "a": Server(1.0)}), Ledger(servers={"a": Server(1.0)})


def registered() -> Continuity:
    """Return the state of a server that has written to the ledger at 10 s."""
    continuity = Continuity("me")
    assert not continuity.found(OTHERS, "u", 5.0)
    assert not continuity.found(OURS, "u", 10.0)
    return continuity


def test_nothing_is_known_before_the_first_answer() -> None:
    """Until then there is neither a doubt nor its absence."""
    assert Continuity("me").doubt_due is None


def test_a_ledger_that_others_have_begun_leaves_no_doubt() -> None:
    """A new server has lost nothing; it counts as registered from the moment at which it finds itself."""
    continuity = Continuity("me")
    assert not continuity.found(OTHERS, "u", 5.0)
    assert (continuity.doubt_due, continuity.registered_at) == (False, None)
    assert not continuity.found(OURS, "u", 10.0)
    assert not continuity.found(OURS, "u", 20.0)
    assert (continuity.doubt_due, continuity.registered_at) == (False, 10.0)


def test_an_empty_ledger_is_a_doubt() -> None:
    """It can have been emptied before this server was started."""
    continuity = Continuity("me")
    assert not continuity.found(None, "u", 5.0)
    assert continuity.doubt_due is True


@pytest.mark.parametrize(("ledger", "uid"), [(None, "u"), (OTHERS, "u"), (OURS, "v"), (OTHERS, "v"), (None, "v")])
def test_what_was_written_is_lost(ledger: Ledger | None, uid: str) -> None:
    """The ConfigMap was emptied, went back to an older version, or is another one."""
    continuity = registered()
    assert continuity.found(ledger, uid, 20.0)
    assert continuity.doubt_due is True
    assert continuity.registered_at == (20.0 if ledger is OURS else None)
    # A doubt stays until it is settled, whatever is found.
    continuity.found(OURS, uid, 30.0)
    assert continuity.doubt_due is True
    continuity.settled()
    assert not continuity.found(OURS, uid, 40.0)
    assert continuity.doubt_due is False


def test_a_missing_ledger_is_a_doubt_if_it_was_there() -> None:
    """What was said before is lost."""
    continuity = registered()
    continuity.missing()
    assert (continuity.doubt_due, continuity.registered_at) == (True, None)


def test_a_doubt_about_a_missing_ledger_is_settled_once() -> None:
    """Nobody writes to a ledger that does not exist, so nothing new can be lost."""
    continuity = Continuity("me")
    continuity.missing()
    assert continuity.doubt_due is True
    continuity.settled()
    continuity.missing()
    assert continuity.doubt_due is False
