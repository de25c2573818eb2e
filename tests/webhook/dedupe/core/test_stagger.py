"""Servers that lose the store one after the other."""

from __future__ import annotations

import pytest

from webhook.dedupe.core.ledger import Ledger, Outage, Server
from webhook.dedupe.core.stagger import Stagger

BEGAN = 1000.0


def note(stagger: Stagger, *, seen: float, down: bool, began: float | None = BEGAN) -> bool:
    """Read a ledger with one other server; returns whether that one went on."""
    stagger.note(Ledger(servers={"me": Server(BEGAN + 500), "other": Server(seen, down=down)}), began=began, now=0.0)
    return stagger.others_went_on


@pytest.mark.parametrize(("after", "went_on"), [(10.0, False), (10.1, True)])
def test_a_server_that_reaches_the_store_later_has_gone_on(*, after: float, went_on: bool) -> None:
    """It has written after the outage of this one began; one that has died with the store has not."""
    assert note(Stagger("me"), seen=BEGAN + after, down=False) is went_on


def test_a_server_that_was_up_and_is_down_now_has_gone_on() -> None:
    """It has lost the store later; when it says so, it does not reach it any more."""
    stagger = Stagger("me")
    assert not note(stagger, seen=BEGAN + 9, down=False)
    assert note(stagger, seen=BEGAN + 15, down=True)


def test_servers_that_lose_the_store_together_have_not_gone_on() -> None:
    """Both say within seconds that it is down, and say so again and again."""
    stagger = Stagger("me")
    assert not note(stagger, seen=BEGAN + 3, down=True)
    assert not note(stagger, seen=BEGAN + 33, down=True)


def test_it_is_forgotten_when_the_store_answers_again() -> None:
    """The next outage is another one."""
    stagger = Stagger("me")
    assert note(stagger, seen=BEGAN + 15, down=False)
    assert not note(stagger, seen=BEGAN + 16, down=False, began=None)


def test_the_notice_counts_from_the_moment_when_the_ledger_is_seen() -> None:
    """Not from the begin that it names: the write can have taken long; and anew for each outage."""
    stagger = Stagger("me")
    stagger.note(Ledger(outages={"me": Outage(BEGAN, BEGAN + 30)}), began=BEGAN, now=50.0)
    stagger.note(Ledger(outages={"me": Outage(BEGAN, BEGAN + 60)}), began=BEGAN, now=80.0)
    assert stagger.told_at == 50.0
    stagger.note(Ledger(outages={"me": Outage(BEGAN + 90, BEGAN + 120)}), began=BEGAN + 90, now=140.0)
    assert stagger.told_at == 140.0
