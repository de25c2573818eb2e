"""The format of records and of names in them."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.dedupe.core.packing import pack_fields, pack_name, unpack_fields, unpack_name
from webhook.dedupe.core.record import (
    NO_REQUEST,
    OLD_VERSION,
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

NAMESPACES = st.just("") | st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True)
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


@given(RECORDS, st.sampled_from([OLD_VERSION, VERSION]))
def test_decoding_undoes_encoding(record: Record, version: int) -> None:
    """A record that was encoded in either version is decoded to the same record."""
    assert decode(encode(record, version)) == record


@given(RECORDS, NAMESPACES)
def test_a_record_can_name_its_namespace(record: Record, namespace: str) -> None:
    """Version 2 keeps the namespace, and one without it is read all the same; version 1 is the same with or without."""
    within = replace(record, namespace=namespace)
    assert decode(encode(within, VERSION)) == within
    assert encode(within) == encode(within, OLD_VERSION) == encode(record)
    without = encode(record, VERSION)
    assert encode(within, VERSION).startswith(without)
    assert decode(without).namespace == ""


@given(RECORDS, RECORDS, NAMESPACES)
def test_a_record_can_keep_the_one_before(record: Record, before: Record, namespace: str) -> None:
    """In version 2 a record can hold that of the run which it follows, in the same namespace."""
    following = replace(record, namespace=namespace, predecessor=replace(before, namespace=namespace))
    assert decode(encode(following, VERSION)) == following


def test_the_longest_record_can_be_the_one_before() -> None:
    """A name of 253 characters, a long phase and a forgotten run leave room for it."""
    uid = str(uuid.uuid4())
    before = Record(State.CONFIRMED, "n" * 253, uid, NO_REQUEST, b"f" * 8, 1, 2, "p" * 32, Forgotten(1, uid))
    following = replace(before, predecessor=before)
    assert decode(encode(following, VERSION)) == following


def test_the_first_release_reads_what_is_written_by_default() -> None:
    """The default version is that of the release before, byte for byte, whatever else is known about a record."""
    uid = "00112233-4455-6677-8899-aabbccddeeff"
    known = Record(State.CONFIRMED, "build-1", uid, NO_REQUEST, b"f" * 8, 7, 9, "Succeeded", Forgotten(5, uid))
    head = "01" + "02" + "000000000009" + uid.replace("-", "") + "66" * 8 + "00000007" + "82"
    name = "07" + "6ee8a577ed40"
    assert encode(replace(known, namespace="shop")).hex() == head + name + "00000005" + uid.replace("-", "")


@given(st.text(min_size=33, max_size=60))
def test_a_long_phase_is_cut_between_characters(phase: str) -> None:
    """A phase of more than 32 bytes keeps its beginning."""
    record = Record(State.CONFIRMED, "a", str(uuid.uuid4()), b"r" * 6, b"f" * 8, phase=phase)
    kept = decode(encode(record)).phase
    assert phase.startswith(kept)
    assert 29 <= len(kept.encode()) <= 32


@given(
    st.builds(lambda record, namespace: replace(record, namespace=namespace), RECORDS, NAMESPACES),
    st.data(),
    st.sampled_from([OLD_VERSION, VERSION]),
)
def test_a_damaged_record_is_an_error(record: Record, data: st.DataObject, version: int) -> None:
    """A record that was cut is unreadable: it is never decoded in part, and no other exception is raised."""
    whole = encode(record, version)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    fewer = (replace(record, namespace=""), replace(record, namespace="", forgotten=None))
    if cut not in [encode(other, version) for other in fewer]:
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
    assert (data[0], data[1]) == (OLD_VERSION, 1)
    assert data[2:8] == bytes((1, 2, 3, 4, 5, 6))
    assert (data[8:24], data[24:30]) == (uid.bytes, request)


def test_an_unknown_field_is_no_guess() -> None:
    """A record of version 2 with a field that this release does not know is unreadable."""
    data = encode(Record(State.RESERVED, "a", str(uuid.uuid4()), b"r" * 6, b"f" * 8), VERSION)
    with pytest.raises(UnreadableRecordError, match="unknown field 9"):
        decode(data + bytes((9, 1, 0)))


def test_only_known_versions_are_decoded() -> None:
    """A release decodes the formats that it has readers for, and no other."""
    record = Record(State.RESERVED, "a", str(uuid.uuid4()), b"r" * 6, b"f" * 8)
    next_one = bytes((VERSION + 1,)) + encode(record, VERSION)[1:]
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


def test_a_namespace_is_small() -> None:
    """A namespace of 12 characters adds 12 bytes to a record, the longest one 51."""
    record = Record(State.CONFIRMED, "n" * 63, str(uuid.uuid4()), NO_REQUEST, b"f" * 8, phase="Succeeded")
    assert len(encode(replace(record, namespace="n" * 12), VERSION)) == len(encode(record, VERSION)) + 12
    assert len(encode(replace(record, namespace="n" * 63), VERSION)) == len(encode(record, VERSION)) + 51


@given(st.dictionaries(st.integers(0, 255), st.binary(min_size=1, max_size=510)), st.data())
def test_fields_are_read_as_they_were_written(fields: dict[int, bytes], data: st.DataObject) -> None:
    """Tags and values come back in order; what was cut off within a field is an error."""
    packed = pack_fields(fields)
    assert list(unpack_fields(packed)) == list(fields.items())
    cut = packed[: data.draw(st.integers(0, len(packed)))]
    with contextlib.suppress(ValueError, IndexError):
        assert pack_fields(dict(unpack_fields(cut))) == cut


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
