"""The fingerprint of parameters."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core.fingerprint import fingerprint

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@given(JSON, st.randoms())
def test_the_order_of_keys_makes_no_difference(value: object, rng: random.Random) -> None:
    """The fingerprint does not depend on the order of keys."""
    assert fingerprint(msgspec.json.encode(value)) == fingerprint(msgspec.json.encode(_shuffled(value, rng)))


def _shuffled(value: object, rng: random.Random) -> object:
    if isinstance(value, dict):
        items = [(name, _shuffled(inner, rng)) for name, inner in value.items()]
        rng.shuffle(items)
        return dict(items)
    return [_shuffled(inner, rng) for inner in value] if isinstance(value, list) else value


@given(JSON, JSON)
def test_other_parameters_have_other_fingerprints(one: object, other: object) -> None:
    """Any difference except the order of keys changes the fingerprint."""
    same = fingerprint(msgspec.json.encode(one)) == fingerprint(msgspec.json.encode(other))
    canonical = [msgspec.json.encode({} if value is None else value, order="sorted") for value in (one, other)]
    assert same == (canonical[0] == canonical[1])


@pytest.mark.parametrize("nothing", [b"", b"null", b"{}"])
def test_all_forms_of_no_parameters_are_equal(nothing: bytes) -> None:
    """Absent, null and empty parameters have the same fingerprint."""
    assert fingerprint(nothing) == fingerprint(b"")
