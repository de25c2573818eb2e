"""Keys, generated names and fingerprints."""

from __future__ import annotations

import random
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.hooks.dedupe.core.fingerprint import fingerprint
from webhook.hooks.dedupe.core.key import BUCKETS, DeliveryKey, is_delivery, mark_key
from webhook.hooks.dedupe.core.names import generated_name, is_generated
from webhook.hooks.dedupe.core.run import OrchestrationRun

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_other_deliveries_have_other_keys(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Two keys are equal only if all three parts are, byte for byte."""
    keys = DeliveryKey(*one).record_key, DeliveryKey(*other).record_key
    assert (keys[0] == keys[1]) == (one == other)


def test_parts_cannot_run_into_each_other() -> None:
    """What ends one part and begins the next makes a difference."""
    assert DeliveryKey("a", "bc", "d").record_key != DeliveryKey("ab", "c", "d").record_key
    assert generated_name("n-", "a", "bc") != generated_name("n-", "ab", "c")


@given(TEXT)
def test_a_record_lies_in_the_slot_of_its_mark(delivery_id: str) -> None:
    """A record's key begins with its bucket's hash tag, so that a Cluster keeps both together."""
    key = DeliveryKey("shop", "nightly", delivery_id)
    assert 0 <= key.bucket < BUCKETS
    assert key.record_key.startswith(mark_key(key.bucket))
    assert re.match(rb"r\{[0-9a-f]{2}\}", key.record_key)
    assert len(key.record_key) == 21


def test_deliveries_spread_over_all_buckets() -> None:
    """No bucket stays empty."""
    assert {DeliveryKey("shop", "nightly", str(number)).bucket for number in range(2000)} == set(range(BUCKETS))


@pytest.mark.parametrize(("delivery_id", "is_one"), [(None, False), ("", False), (" \t\n", False), (" a", True)])
def test_blank_is_no_delivery(delivery_id: str | None, *, is_one: bool) -> None:
    """Absent, empty and blank ids ask for nothing."""
    assert is_delivery(delivery_id) is is_one


@given(TEXT, TEXT, TEXT)
def test_a_generated_name_is_short_deterministic_and_known_again(prefix: str, ref: str, delivery_id: str) -> None:
    """The name has at most 63 characters, depends on nothing else, and is told from names given by hand."""
    name = generated_name(prefix, ref, delivery_id)
    assert name == generated_name(prefix, ref, delivery_id)
    assert name[:-16] == prefix[:47]
    assert len(name) <= 63
    assert is_generated(name, ref, delivery_id)
    assert not is_generated(name, ref, delivery_id + "x")
    assert not is_generated(f"{'x' * 48}{name[-16:]}", ref, delivery_id)


def test_a_known_name() -> None:
    """The name of a delivery never changes between releases: those that are stored would not be found again."""
    assert generated_name("nightly-", "nightly", "d-1") == "nightly-05adf3cee602a514"


@given(JSON, st.randoms())
def test_the_order_of_keys_makes_no_difference(value: object, chance: random.Random) -> None:
    """The fingerprint of parameters does not depend on the order in which a client wrote them."""
    assert fingerprint(msgspec.json.encode(value)) == fingerprint(msgspec.json.encode(_shuffled(value, chance)))


def _shuffled(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        items = [(name, _shuffled(inner, chance)) for name, inner in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [_shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


@given(JSON, JSON)
def test_other_parameters_have_other_fingerprints(one: object, other: object) -> None:
    """Any other difference than the order makes one."""
    same = fingerprint(msgspec.json.encode(one)) == fingerprint(msgspec.json.encode(other))
    canonical = [msgspec.json.encode({} if value is None else value, order="sorted") for value in (one, other)]
    assert same == (canonical[0] == canonical[1])


@pytest.mark.parametrize("nothing", [b"", b"null", b"{}"])
def test_no_parameters_are_no_parameters(nothing: bytes) -> None:
    """Absent, null and empty parameters are the same."""
    assert fingerprint(nothing) == fingerprint(b"")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"metadata":null,"spec":null,"status":null}',
        b'{"metadata":{},"spec":{"orchestrationRef":null},"status":{}}',
    ],
)
def test_a_run_may_lack_everything(body: bytes) -> None:
    """Every level may be absent or null."""
    run = msgspec.json.decode(body, type=OrchestrationRun)
    assert (run.name, run.generate_name, run.namespace, run.uid, run.ref, run.phase, run.run_id) == ("",) * 7
    assert (run.delivery_id, run.created_at, run.parameters, run.key("shop")) == (None, 0, b"", None)
