"""Names in fewer bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.hooks.dedupe.core.packing import pack_name, unpack_name

NAMES = st.from_regex(r"[a-z0-9.-]{0,253}", fullmatch=True)


@given(NAMES | st.text(max_size=60), st.binary(max_size=30))
def test_what_is_packed_is_unpacked(name: str, rest: bytes) -> None:
    """Any name comes back, and with it what followed."""
    assert unpack_name(pack_name(name) + rest) == (name, rest)


@given(NAMES)
def test_four_characters_take_three_bytes(name: str) -> None:
    """A legal name takes a byte for its length and three for each four characters, begun ones included."""
    assert len(pack_name(name)) == 1 + (len(name) + 3) // 4 * 3


@given(NAMES | st.text(max_size=60), st.data())
def test_what_is_cut_is_an_error(name: str, data: st.DataObject) -> None:
    """A name that ends too early is never half read."""
    whole = pack_name(name)
    with pytest.raises((ValueError, IndexError)):
        unpack_name(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_unforeseen(data: bytes) -> None:
    """Whatever is there, it is a name or one of the two errors that a damaged record has."""
    with contextlib.suppress(ValueError, IndexError):
        unpack_name(data)


def test_a_name_that_no_object_can_have_is_refused() -> None:
    """What does not fit the byte of its length is an error, not a name that was cut."""
    with pytest.raises(ValueError, match="256"):
        pack_name("N" * 256)
