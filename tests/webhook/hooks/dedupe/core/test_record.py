"""The format of records."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.hooks.dedupe.core.record import (
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
    request_token,
)

UIDS = st.uuids().map(str)
SECONDS = st.integers(0, 2**32 - 1)
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
def test_what_is_written_is_read(record: Record) -> None:
    """Decoding undoes encoding."""
    assert decode(encode(record)) == record


@given(st.text(min_size=33, max_size=60))
def test_a_long_phase_is_cut_between_characters(phase: str) -> None:
    """A phase of more than 32 bytes keeps its beginning."""
    record = Record(State.CONFIRMED, "a", str(uuid.uuid4()), b"r" * 6, b"f" * 8, phase=phase)
    kept = decode(encode(record)).phase
    assert phase.startswith(kept)
    assert 29 <= len(kept.encode()) <= 32


@given(RECORDS, st.data())
def test_a_damaged_record_is_an_error_of_its_own(record: Record, data: st.DataObject) -> None:
    """A record that was cut is refused, never half read, and never an unforeseen exception."""
    whole = encode(record)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if cut != encode(replace(record, forgotten=None)):
        with pytest.raises(UnreadableRecordError):
            decode(cut)


@given(st.binary(max_size=120))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Whatever the store holds, it is a record or the error that says so."""
    with contextlib.suppress(UnreadableRecordError):
        decode(data)


def test_the_scripts_find_what_they_look_at() -> None:
    """State, time and uid and request are where the scripts look for them."""
    uid, request = uuid.uuid4(), request_token(str(uuid.uuid4()))
    data = encode(Record(State.RESERVED, "a", str(uid), request, b"f" * 8, reserved_at=0x010203040506))
    assert (data[0], data[1]) == (VERSION, 1)
    assert data[2:8] == bytes((1, 2, 3, 4, 5, 6))
    assert (data[8:24], data[24:30]) == (uid.bytes, request)


def test_the_version_before_is_read_and_the_next_one_is_not() -> None:
    """A release reads the formats that it has readers for, side by side, and guesses at no other."""
    record = Record(State.RESERVED, "a", str(uuid.uuid4()), b"r" * 6, b"f" * 8)
    next_one = bytes((VERSION + 1,)) + encode(record)[1:]
    readers = {**READERS, VERSION + 1: READERS[VERSION]}
    assert decode(next_one, readers) == decode(encode(record), readers) == record
    with pytest.raises(UnreadableRecordError, match=f"format {VERSION + 1}.*newer release"):
        decode(next_one)


@pytest.mark.parametrize("state", [State.RESERVED, State.CONFIRMED])
def test_a_record_is_small(state: State) -> None:
    """With the longest generated name and a phase, a record takes no more than the 92 bytes that fit 200 in all."""
    phase = "Succeeded" if state is State.CONFIRMED else ""
    record = Record(state, "n" * 63, str(uuid.uuid4()), b"r" * 6, b"f" * 8, phase=phase)
    assert len(encode(record)) <= 92


def test_requests_are_told_apart() -> None:
    """A few bytes of a uid are enough to know a request again, and not to take another one for it."""
    uids = [str(uuid.uuid4()) for _ in range(1000)]
    assert len({request_token(uid) for uid in uids}) == 1000
    assert request_token(uids[0].upper()) == request_token(uids[0])


@given(st.text(max_size=40))
def test_every_uid_has_a_canonical_form(uid: str) -> None:
    """Any string becomes a UUID, the same each time, and a UUID stays itself."""
    canonical = canonical_uid(uid)
    assert str(uuid.UUID(canonical)) == canonical
    assert canonical_uid(canonical) == canonical
