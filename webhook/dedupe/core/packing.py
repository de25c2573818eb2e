"""How names, phases and optional fields are packed into a record."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

_PHASE_LIMIT: Final = 32
#: A byte with this bit is the number of a usual phase. New ones are added at the end, with a new version.
_USUAL: Final = 128
_USUAL_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Cancelled", "Completed", "Error", "Unknown")

#: In place of a length: the name is not a DNS subdomain and follows unpacked.
_UNPACKED: Final = 255
_LONGEST_NAME: Final = 253
_PACKABLE: Final = re.compile(rb"[a-z0-9.-]*")
_TO_BASE64: Final = bytes.maketrans(b"-.", b"+/")
_FROM_BASE64: Final = bytes.maketrans(b"+/", b"-.")
_GROUP: Final = 4
_GROUP_BYTES: Final = 3

#: A length of so many bytes or more takes a second byte, which is added. No field is longer than 510 bytes.
_LONG: Final = 255


def pack_name(name: str) -> bytes:
    """Encode a name: its length in one byte, then three bytes for each four characters.

    A name is a DNS subdomain: lower case letters, digits, `-` and `.`, at most 253 characters. These are 38 of the 64
    symbols of base64. So the record of a run with a long name needs no more memory than one with a short name.
    Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names

    Raises:
        ValueError: The name has more than 255 bytes, which no name of an object has.
    """
    data = name.encode()
    if len(data) > _LONGEST_NAME or not _PACKABLE.fullmatch(data):
        return bytes((_UNPACKED, len(data))) + data
    padded = data.translate(_TO_BASE64) + b"A" * (-len(data) % _GROUP)
    return bytes((len(data),)) + binascii.a2b_base64(padded)


def unpack_name(data: bytes) -> tuple[str, bytes]:
    """Decode a name; returns it and the bytes that follow it.

    Raises:
        ValueError: There is no name, or it ends too early.
        IndexError: As above.
    """
    length = data[0]
    if length == _UNPACKED:
        end = 2 + data[1]
        name = data[2:end]
    else:
        end = 1 + -(-length // _GROUP) * _GROUP_BYTES
        name = binascii.b2a_base64(data[1:end], newline=False)[:length].translate(_FROM_BASE64)
    if len(data) < end:
        raise ValueError("it ends too early")
    return name.decode(), data[end:]


def pack_phase(phase: str) -> bytes:
    """Encode a phase: a usual one in one byte, another with its length, cut to 32 bytes."""
    if phase in _USUAL_PHASES:
        return bytes((_USUAL + _USUAL_PHASES.index(phase),))
    text = phase.encode()[:_PHASE_LIMIT].decode(errors="ignore").encode()
    return bytes((len(text),)) + text


def unpack_phase(data: bytes) -> tuple[str, bytes]:
    """Decode a phase; returns it and the bytes that follow it.

    Raises:
        ValueError: There is no phase, or it ends too early.
        IndexError: As above.
    """
    if data[0] >= _USUAL:
        return _USUAL_PHASES[data[0] - _USUAL], data[1:]
    end = 1 + data[0]
    if len(data) < end:
        raise ValueError("it ends too early")
    return data[1:end].decode(), data[end:]


def pack_fields(fields: Mapping[int, bytes]) -> bytes:
    """Encode fields by their tags: each is a tag, a length and a value; an empty one is left out."""
    return b"".join(bytes((tag,)) + _pack_length(len(value)) + value for tag, value in fields.items() if value)


def unpack_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the value of each field.

    Raises:
        ValueError: A field ends too early.
        IndexError: As above.
    """
    while data:
        tag, length, start = data[0], data[1], 2
        if length == _LONG:
            length, start = _LONG + data[2], 3
        end = start + length
        if len(data) < end:
            raise ValueError("it ends too early")
        yield tag, data[start:end]
        data = data[end:]


def _pack_length(length: int) -> bytes:
    return bytes((length,)) if length < _LONG else bytes((_LONG, length - _LONG))
