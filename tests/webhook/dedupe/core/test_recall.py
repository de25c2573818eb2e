"""The memory of deliveries for the time while the store does not answer."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core.recall import RecallFilter

digests = st.binary(min_size=6, max_size=16)


def number(value: int) -> bytes:
    """Return a digest."""
    return hashlib.sha256(value.to_bytes(8, "big")).digest()[:16]


@given(st.lists(digests, max_size=30))
def test_nothing_is_forgotten(added: list[bytes]) -> None:
    """Every digest that was added is in it, and its size counts what can be told apart."""
    memory = RecallFilter()
    memory.update(added)
    assert all(digest in memory for digest in added)
    told_apart = {(int.from_bytes(digest[:2]) % 4096, digest[2:6]) for digest in added}
    assert memory.size == len(told_apart)


def test_what_was_not_added_is_not_in_it() -> None:
    """Of 20,000 other digests none is taken for one of 20,000; a filter of so many is wrong once in 10**9."""
    memory = RecallFilter()
    memory.update(map(number, range(20_000)))
    assert memory.size == 20_000
    assert not [value for value in range(20_000, 40_000) if number(value) in memory]


def test_bytes_across_two_fingerprints_are_none() -> None:
    """A fingerprint counts only where one begins, also if it occurs later at such a place."""
    slot = b"\x00\x07"
    memory = RecallFilter()
    memory.update((slot + b"abcd", slot + b"efgh"))
    assert slot + b"cdef" not in memory
    memory.add(slot + b"cdef")
    assert slot + b"cdef" in memory
    assert memory.size == 3


def test_each_byte_that_is_compared_matters() -> None:
    """Digests that differ in one of the bits that are kept are told apart."""
    memory = RecallFilter()
    memory.add(b"\x01\x02abcd")
    for other in (b"\x01\x03abcd", b"\x02\x02abcd", b"\x01\x02bbcd", b"\x01\x02abce"):
        assert other not in memory
    assert b"\x01\x02abcd and more" in memory
