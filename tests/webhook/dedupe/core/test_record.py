"""The format of records and of names in them."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core.record import (
    NO_REQUEST,
    READERS,
    VERSION,
    Forgotten,
    Record,
    State,
    UnreadableRecordError,
    canonical_uid,
    decode,
    encode,
    pack_name,
    request_token,
    unpack_name,
)

UIDS = st.uuids().map(str)
SECONDS = st.integers(0, 2**32 - 1)
NAMES = st.from_regex(r"[a-z0-9.-]{0,253}", fullmatch=True)
RECORDS = st.builds(
    Record,
    state=st.sampled_from(State),
    name=st.from_regex(r"[a-z0-9.-]{1,253}", fullmatch=True),
    uid=UIDS,
    request=st.binary(min_size=6, max_size=6),
    fingerprint=st.binary(min_size=8, max_size=8),
    created_at=SECONDS,
    reserved_at=st.integers(0, 2**48 - 1),
    phase=st.sampled_from(["Pending", "Succeeded", "Unknown"]) | st.text(max_size=8),
    forgotten=st.none() | st.builds(Forgotten, created_at=SECONDS, uid=UIDS),
).map(lambda record: record if record.state is State.RESERVED else replace(record, request=NO_REQUEST))


@given(RECORDS)
def test_decoding_undoes_encoding(record: Record) -> None:
    """A record that was encoded is decoded to the same record."""
    assert decode(encode(record)) == record


@given(st.text(min_size=33, max_size=60))
def test_a_long_phase_is_cut_between_characters(phase: str) -> None:
    """A phase of more than 32 bytes keeps its beginning."""
    record = Record(State.CONFIRMED, "a", str(uuid.uuid4()), b"r" * 6, b"f" * 8, phase=phase)
    kept = decode(encode(record)).phase
    assert phase.startswith(kept)
    assert 29 <= len(kept.encode()) <= 32


@given(RECORDS, st.data())
def test_a_damaged_record_is_an_error(record: Record, data: st.DataObject) -> None:
    """A record that was cut is unreadable: it is never decoded in part, and no other exception is raised."""
    whole = encode(record)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if cut != encode(replace(record, forgotten=None)):
        with pytest.raises(UnreadableRecordError):
            decode(cut)


@given(st.binary(max_size=120))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    """Any bytes are a record or an `UnreadableRecordError`."""
    with contextlib.suppress(UnreadableRecordError):
        decode(data)


def test_the_scripts_find_what_they_read() -> None:
    """State, time, uid and request are where the scripts read them."""
    uid, request = uuid.uuid4(), request_token(str(uuid.uuid4()))
    data = encode(Record(State.RESERVED, "a", str(uid), request, b"f" * 8, reserved_at=0x010203040506))
    assert (data[0], data[1]) == (VERSION, 1)
    assert data[2:8] == bytes((1, 2, 3, 4, 5, 6))
    assert (data[8:24], data[24:30]) == (uid.bytes, request)


def test_only_known_versions_are_decoded() -> None:
    """A release decodes the formats that it has readers for, and no other."""
    record = Record(State.RESERVED, "a", str(uuid.uuid4()), b"r" * 6, b"f" * 8)
    next_one = bytes((VERSION + 1,)) + encode(record)[1:]
    readers = {**READERS, VERSION + 1: READERS[VERSION]}
    assert decode(next_one, readers) == decode(encode(record), readers) == record
    with pytest.raises(UnreadableRecordError, match=f"format {VERSION + 1}.*newer release"):
        decode(next_one)


@pytest.mark.parametrize("state", [State.RESERVED, State.CONFIRMED])
def test_a_record_is_small(state: State) -> None:
    """With the longest generated name and a phase, a record has at most 92 bytes, so that it needs 200 in all."""
    phase = "Succeeded" if state is State.CONFIRMED else ""
    record = Record(state, "n" * 63, str(uuid.uuid4()), b"r" * 6, b"f" * 8, phase=phase)
    assert len(encode(record)) <= 92


def test_requests_are_distinguished() -> None:
    """The first bytes of a uid are enough to recognize a request and to distinguish it from others."""
    uids = [str(uuid.uuid4()) for _ in range(1000)]
    assert len({request_token(uid) for uid in uids}) == 1000
    assert request_token(uids[0].upper()) == request_token(uids[0])


@given(st.text(max_size=40))
def test_every_uid_has_a_canonical_form(uid: str) -> None:
    """Any string becomes a UUID, the same each time, and a UUID stays unchanged."""
    canonical = canonical_uid(uid)
    assert str(uuid.UUID(canonical)) == canonical
    assert canonical_uid(canonical) == canonical


@given(NAMES | st.text(max_size=60), st.binary(max_size=30))
def test_unpacking_undoes_packing(name: str, rest: bytes) -> None:
    """Any name is returned, and with it the bytes that follow."""
    assert unpack_name(pack_name(name) + rest) == (name, rest)


@given(NAMES)
def test_four_characters_take_three_bytes(name: str) -> None:
    """A legal name takes one byte for its length and three for each group of up to four characters."""
    assert len(pack_name(name)) == 1 + (len(name) + 3) // 4 * 3


@given(NAMES | st.text(max_size=60), st.data())
def test_a_name_that_was_cut_is_an_error(name: str, data: st.DataObject) -> None:
    """A name that ends too early is never decoded in part."""
    whole = pack_name(name)
    with pytest.raises((ValueError, IndexError)):
        unpack_name(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=300))
def test_no_bytes_raise_another_error_as_a_name(data: bytes) -> None:
    """Any bytes are a name or one of two errors."""
    with contextlib.suppress(ValueError, IndexError):
        unpack_name(data)


def test_a_name_that_no_object_can_have_is_an_error() -> None:
    """A name that is longer than the byte of its length allows is an error and is not cut."""
    with pytest.raises(ValueError, match="256"):
        pack_name("N" * 256)
