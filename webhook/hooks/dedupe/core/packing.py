"""Names of objects in three quarters of their length, so that a record of a long name fits where a short one does.

A name is a DNS subdomain: lower case letters, digits, `-` and `.`, at most 253 characters. Those are 38 of the 64
symbols of base64, so that four characters take three bytes.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
"""

from __future__ import annotations

import binascii
import re
from typing import Final

#: Instead of a length: a name that is no DNS subdomain follows as it is.
_PLAIN: Final = 255
_LONGEST: Final = 253
_PACKABLE: Final = re.compile(rb"[a-z0-9.-]*")
_TO_BASE64: Final = bytes.maketrans(b"-.", b"+/")
_FROM_BASE64: Final = bytes.maketrans(b"+/", b"-.")
_GROUP: Final = 4
_GROUP_BYTES: Final = 3


def pack_name(name: str) -> bytes:
    """Write a name: its length in one byte, then a group of three bytes for each four characters.

    Raises:
        ValueError: It has more than 255 bytes, which no name of an object has.
    """
    data = name.encode()
    if len(data) > _LONGEST or not _PACKABLE.fullmatch(data):
        return bytes((_PLAIN, len(data))) + data
    padded = data.translate(_TO_BASE64) + b"A" * (-len(data) % _GROUP)
    return bytes((len(data),)) + binascii.a2b_base64(padded)


def unpack_name(data: bytes) -> tuple[str, bytes]:
    """Read a name, and return it with what follows it.

    Raises:
        ValueError: There is none, or it ends too early.
        IndexError: The same.
    """
    length = data[0]
    if length == _PLAIN:
        end = 2 + data[1]
        name = data[2:end]
    else:
        end = 1 + -(-length // _GROUP) * _GROUP_BYTES
        name = binascii.b2a_base64(data[1:end], newline=False)[:length].translate(_FROM_BASE64)
    if len(data) < end:
        raise ValueError("it ends too early")
    return name.decode(), data[end:]
