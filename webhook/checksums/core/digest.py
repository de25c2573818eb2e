"""The checksum of the contents of a Secret or ConfigMap; it can be computed by hand.

It covers exactly the bytes, with the newline at the end, that this prints:

    kubectl get secret NAME -o json | jq -cS '{data, binaryData}'

jq 1.6 and 1.8 print the same: keys are sorted, there are no blanks, characters outside of ASCII are not escaped, and
control characters are, which for jq include DEL (0x7F).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

#: Values of a Secret are base64; those of a ConfigMap are text in `data` and base64 in `binaryData`. The API server
#: stores no empty map: an object without contents has None in both.
Contents: TypeAlias = Mapping[str, str | None] | None

_encoder: Final = msgspec.json.Encoder(order="sorted")


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    binary_data: Contents
    data: Contents


def canonical(data: Contents, binary_data: Contents) -> bytes:
    """Return contents in the form that jq prints.

    Args:
        data: The object's `data`; None if it has none.
        binary_data: The object's `binaryData`; None if it has none, as for every Secret.

    Returns:
        One line of JSON with its newline.
    """
    line = _encoder.encode(_Line(binary_data=binary_data, data=data))
    # The one byte that jq escapes and msgspec does not. In UTF-8 it is part of no longer character.
    return line.replace(b"\x7f", b"\\u007f") + b"\n"


def checksum(data: Contents, binary_data: Contents, *, key: bytes | None = None) -> str:
    """Return the checksum of contents.

    Args:
        data: As for `canonical`.
        binary_data: As for `canonical`.
        key: If given, the checksum is an HMAC-SHA256 instead of a SHA-256, so that readers of the checksum cannot
            verify guesses of the contents.

    Returns:
        64 lower case hex digits.
    """
    line = canonical(data, binary_data)
    if key is not None:
        return hmac.digest(key, line, "sha256").hex()
    return hashlib.sha256(line).hexdigest()
