"""Fair shares, and which connection is closed for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.server.shares import Group, Shares
from webhook.server.sources import Refusal, Sources, source_of

GROUPS = st.builds(Group, st.sampled_from("ab"), st.sampled_from(["", "w", "v"]), st.sampled_from(["", "x", "y"]))


@given(st.lists(st.tuples(GROUPS, st.integers(1, 40))))
def test_shares_have_bounds_and_keep_nothing(requests: list[tuple[Group, int]]) -> None:
    """Each caller stays within the capacity, all callers within twice as much, and nothing is kept at the end."""
    shares = Shares(100)
    taken = []
    for group, amount in requests:
        if shares.fits(group, amount):
            shares.take(group, amount)
            taken.append((group, amount))
    for source in "ab":
        assert sum(amount for group, amount in taken if group.source == source) <= 100
    assert shares.total <= 200
    for group, amount in taken:
        shares.give(group, amount)
    assert not shares.total
    assert not shares._held


def test_a_webhook_and_a_namespace_leave_room() -> None:
    """One namespace gets half, one webhook three quarters, and the rest is for others of the same caller."""
    shares = Shares(512)

    def fill(group: Group) -> int:
        count = 0
        while shares.fits(group):
            shares.take(group)
            count += 1
        return count

    assert fill(Group("api", "runs", "shop")) == 256
    assert fill(Group("api", "runs", "store")) == 128
    assert shares.fits(Group("api", "workloads", "shop"))
    assert shares.fits(Group("pod", "runs", "shop"))


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fd00:1:2:3:4::5", "fd00:1:2:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_source_is_an_address_or_a_network(host: str, source: str) -> None:
    """A pod can have a whole /64 network of IPv6 addresses."""
    assert source_of(host) == source


def test_the_source_with_the_most_connections_loses_one() -> None:
    """Idle connections go first, and a busy one only for a source that has fewer."""
    closed: list[Refusal] = []
    sources = Sources(total=4, of_one=3, closed=closed.append)
    slots = [sources.admit("10.0.0.1") for _ in range(3)]
    for slot in slots:
        assert slot is not None
        sources.begin(slot)
    assert sources.admit("10.0.0.1") is None
    assert sources.admit("10.0.0.2") is not None
    assert sources.admit("10.0.0.2") is not None
    assert closed == [Refusal.REFUSED, Refusal.EVICTED]
    assert sources.open == 4
