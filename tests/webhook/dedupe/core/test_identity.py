"""The identity of a delivery: its key, its label and its generated name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core.identity import (
    BUCKETS,
    DeliveryKey,
    generated_name,
    is_delivery,
    is_generated,
    label_value,
    mark_key,
)

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_other_deliveries_have_other_keys(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Two keys are equal only if all three parts are, byte for byte."""
    keys = DeliveryKey(*one).record_key, DeliveryKey(*other).record_key
    assert (keys[0] == keys[1]) == (one == other)


def test_where_one_value_ends_makes_a_difference() -> None:
    """The same text divided differently gives another key and another name."""
    assert DeliveryKey("a", "bc", "d").record_key != DeliveryKey("ab", "c", "d").record_key
    assert generated_name("n-", "a", "bc") != generated_name("n-", "ab", "c")


@given(TEXT)
def test_a_record_is_in_the_slot_of_its_mark(delivery_id: str) -> None:
    """A record's key begins with its bucket's hash tag, so that a Cluster holds both in one shard."""
    key = DeliveryKey("shop", "nightly", delivery_id)
    assert 0 <= key.bucket < BUCKETS
    assert key.record_key.startswith(mark_key(key.bucket))
    assert re.match(rb"r\{[0-9a-f]{2}\}", key.record_key)
    assert len(key.record_key) == 21


def test_deliveries_spread_over_all_buckets() -> None:
    """Every bucket is used."""
    assert {DeliveryKey("shop", "nightly", str(number)).bucket for number in range(2000)} == set(range(BUCKETS))


@pytest.mark.parametrize(("delivery_id", "is_one"), [(None, False), ("", False), (" \t\n", False), (" a", True)])
def test_a_blank_id_is_no_delivery(delivery_id: str | None, *, is_one: bool) -> None:
    """Absent, empty and blank ids do not ask for deduplication."""
    assert is_delivery(delivery_id) is is_one


@given(TEXT, TEXT, TEXT)
def test_a_generated_name_is_short_deterministic_and_recognized(prefix: str, ref: str, delivery_id: str) -> None:
    """The name has at most 63 characters, depends on nothing else, and differs from names of clients."""
    name = generated_name(prefix, ref, delivery_id)
    assert name == generated_name(prefix, ref, delivery_id)
    assert name[:-16] == prefix[:47]
    assert len(name) <= 63
    assert is_generated(name, ref, delivery_id)
    assert not is_generated(name, ref, delivery_id + "x")
    assert not is_generated(f"{'x' * 48}{name[-16:]}", ref, delivery_id)


def test_the_generated_name_of_a_known_delivery() -> None:
    """The name of a delivery never changes between releases: stored runs would not be found any more."""
    assert generated_name("nightly-", "nightly", "d-1") == "nightly-05adf3cee602a514"


@pytest.mark.parametrize(
    ("delivery_id", "label"),
    [
        ("a/b", "a-b-c14cddc033f6"),
        (" a/b", "a-b-1e91c30f821d"),
        ("日本", "delivery-cf2abf0c5be3"),
        ("abc", "abc"),
        ("  abc ", "abc"),
        ("A.b_c-9", "A.b_c-9"),
        ("x" * 63, "x" * 63),
    ],
)
def test_labels_of_known_ids(delivery_id: str, label: str) -> None:
    """Known ids get the labels that other programs compute for them."""
    assert label_value(delivery_id) == label


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_label_value_is_legal(delivery_id: str) -> None:
    """The API server accepts the label of every id."""
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", label_value(delivery_id))


@pytest.mark.parametrize("delivery_id", ["-abc", "abc-", "x" * 64, "a b", "..."])
def test_an_id_that_is_not_a_legal_label_gets_a_hash(delivery_id: str) -> None:
    """The hash keeps its label different from those of other ids."""
    assert re.search(r"-[0-9a-f]{12}$", label_value(delivery_id))


def test_a_long_stem_is_cut_before_its_end_is_stripped() -> None:
    """A stem that ends in a dash after it was cut loses the dash."""
    assert label_value("a" * 49 + "/" + "b" * 20).startswith("a" * 49 + "-")
    assert len(label_value("a" * 49 + "/" + "b" * 20)) == 49 + 1 + 12
