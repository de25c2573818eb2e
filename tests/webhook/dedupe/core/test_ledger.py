"""The document at the API server: servers, outages and positions, and what they allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core import ledger as module
from webhook.dedupe.core.ledger import BucketPosition, Ledger, LedgerError, Outage, Server

NOW, LEASE = 1_700_000_000.0, 90.0
names, times = st.text(max_size=5), st.floats(0, 2e9)
ledgers = st.builds(
    Ledger,
    st.dictionaries(names, st.builds(Outage, times, times), max_size=3),
    st.dictionaries(names, st.builds(Server, times, names, st.booleans()), max_size=3),
    st.dictionaries(st.integers(0, 63), st.builds(BucketPosition, names, st.integers(0, 1 << 40)), max_size=3),
)


@given(ledgers)
def test_a_document_is_read_back(ledger: Ledger) -> None:
    """Encoding and decoding changes nothing, and equal documents are equal texts."""
    assert Ledger.decode(ledger.encode()) == ledger
    turned = Ledger(
        dict(reversed(list(ledger.outages.items()))), dict(reversed(list(ledger.servers.items()))), ledger.positions
    )
    assert turned.encode() == ledger.encode()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"positions":{"x":["d",1]}}', '{"servers":{"a":0}}', '{"version":2}'])
def test_a_document_that_cannot_be_decoded_is_an_error(text: str) -> None:
    """A damaged document, and one of a newer release, is neither empty nor guessed."""
    with pytest.raises(LedgerError):
        Ledger.decode(text)


def test_the_times_fit_each_other() -> None:
    """Whoever admits has waited until all others know it or trust nothing, and says it again before it ends."""
    assert (module.TRUSTED_SECONDS, module.NOTICE_SECONDS) == (6.0, 7.0)
    assert (module.OUTAGE_SECONDS, module.CLOCKS_SECONDS) == (30.0, 5.0)
    assert module.TRUSTED_SECONDS < module.NOTICE_SECONDS < module.OUTAGE_SECONDS - module.CLOCKS_SECONDS


def test_an_outage_begins_once_and_is_only_extended() -> None:
    """It lasts 30 s from the last word; its begin stays. A word in the first half of it costs no write."""
    begun = Ledger().with_outage("a", NOW)
    assert begun.outages == {"a": Outage(NOW, NOW + 30)}
    assert begun.with_outage("a", NOW + 14.9) == begun
    assert begun.with_outage("a", NOW + 15).outages == {"a": Outage(NOW, NOW + 45)}
    assert begun.with_outage("a", NOW - 10).outages == begun.outages
    assert set(begun.with_outage("b", NOW).outages) == {"a", "b"}


def test_an_outage_ends_after_its_last_moment() -> None:
    """At that moment a create can still be admitted."""
    ledger = Ledger().with_outage("a", NOW)
    assert ledger.ended_outages(NOW + 30) == {}
    assert ledger.ended_outages(NOW + 30.001) == ledger.outages


def test_an_outage_that_was_extended_is_not_settled() -> None:
    """Only the outage that was settled is removed."""
    ledger = Ledger().with_outage("a", NOW)
    extended = ledger.with_outage("a", NOW + 20)
    assert extended.without_outage("a", ledger.outages["a"]) == extended
    assert ledger.without_outage("b", ledger.outages["a"]) == ledger
    assert ledger.with_outage("b", NOW).without_outage("a", ledger.outages["a"]).outages == {"b": ledger.outages["a"]}


def test_a_server_that_was_not_seen_for_a_minute_is_not_there() -> None:
    """Others wait only for servers that are there."""
    ledger = Ledger(servers={"a": Server(NOW - 59.9), "b": Server(NOW - 60), "me": Server(NOW)})
    assert ledger.others("me", NOW) == (Server(NOW - 59.9),)


def test_the_others_are_down_if_none_that_is_there_can_reach_the_store() -> None:
    """Without others, that holds; the server itself does not count."""
    assert Ledger(servers={"me": Server(NOW)}).others_are_down("me", NOW)
    down, up = Server(NOW, down=True), Server(NOW)
    assert Ledger(servers={"a": down, "me": up}).others_are_down("me", NOW)
    assert not Ledger(servers={"a": down, "b": up}).others_are_down("me", NOW)
    assert Ledger(servers={"a": down, "b": Server(NOW - 60)}).others_are_down("me", NOW)


def test_a_server_is_forgotten_after_ten_minutes() -> None:
    """What it has said before is removed when another one writes."""
    ledger = Ledger(servers={"a": Server(NOW - 599), "b": Server(NOW - 600)})
    assert set(ledger.with_server("me", Server(NOW)).servers) == {"a", "me"}
    assert set(ledger.without_server("a").servers) == {"b"}


def test_of_one_dataset_the_furthest_position_is_kept() -> None:
    """Another dataset replaces it, because its numbers begin anew."""
    ledger = Ledger(positions={1: BucketPosition("d", 5)})
    for reported, kept in (("d", 4), 5), (("d", 5), 5), (("d", 6), 6), (("e", 1), 1):
        position = BucketPosition(*reported)
        assert ledger.with_server("me", Server(NOW), {1: position}).positions[1].writes == kept
    assert ledger.with_server("me", Server(NOW)).positions == ledger.positions


@pytest.mark.parametrize(
    ("position", "covered"), [(("d", 4), False), (("d", 5), True), (("d", 6), True), (("e", 6), False)]
)
def test_a_bucket_is_whole_if_it_has_every_write_that_was_reported(position: tuple[str, int], *, covered: bool) -> None:
    """It has the same data and is not behind."""
    assert Ledger(positions={1: BucketPosition("d", 5)}).covers(1, BucketPosition(*position)) is covered
    assert not Ledger().covers(1, BucketPosition(*position))


def test_all_servers_have_to_agree() -> None:
    """One that says nothing, or something else, is enough to doubt, however long ago it was seen; so is nobody."""
    assert not Ledger().all_agree("x")
    servers = {"a": Server(NOW - 89.9, "x"), "b": Server(NOW, "x")}
    assert Ledger(servers=servers).all_agree("x")
    assert not Ledger(servers={**servers, "c": Server(NOW - 500, "y")}).all_agree("x")
    assert not Ledger(servers={**servers, "c": Server(NOW)}).all_agree("x")
