"""The checksum of a Secret's or ConfigMap's contents, which anyone can check by hand.

It is taken over exactly the bytes, newline included, that

    kubectl get secret NAME -o json | jq -cS '{data, binaryData}'

prints. jq 1.6 and 1.8 agree on them: keys sorted, no blanks, everything outside ASCII as itself, and only control
characters escaped, to which jq counts DEL (0x7F).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

#: A Secret's values are base64, a ConfigMap's are text in `data` and base64 in `binaryData`. The API server stores no
#: empty map, so an object without contents has None in both.
Contents: TypeAlias = Mapping[str, str | None] | None

_encoder: Final = msgspec.json.Encoder(order="sorted")


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    binary_data: Contents
    data: Contents


def canonical(data: Contents, binary_data: Contents) -> bytes:
    """Write contents as jq does.

    Args:
        data: The object's `data`; None where it has none.
        binary_data: The object's `binaryData`; None where it has none, as every Secret.

    Returns:
        One line of JSON with its newline.
    """
    line = _encoder.encode(_Line(binary_data=binary_data, data=data))
    # The one byte that jq escapes and msgspec does not; no longer character's UTF-8 contains it.
    return line.replace(b"\x7f", b"\\u007f") + b"\n"


def checksum(data: Contents, binary_data: Contents, *, key: bytes | None = None) -> str:
    """Return the checksum of contents.

    Args:
        data: As for `canonical`.
        binary_data: As for `canonical`.
        key: Turns the plain SHA-256 into HMAC-SHA256, so that who reads the checksum cannot try out guesses.

    Returns:
        64 lower case hex digits.
    """
    line = canonical(data, binary_data)
    if key is not None:
        return hmac.digest(key, line, "sha256").hex()
    return hashlib.sha256(line).hexdigest()
