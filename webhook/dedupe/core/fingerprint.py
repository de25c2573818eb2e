"""A fingerprint of a run's parameters, to detect a client that uses a deliveryId again for something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from webhook.dedupe.core.identity import digest

FINGERPRINT_LENGTH: Final = 8

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def fingerprint(parameters: bytes) -> bytes:
    """Return a hash of parameters that does not depend on the order of keys, but on everything else.

    Args:
        parameters: The JSON of `spec.parameters`; empty, `null` and `{}` all mean "no parameters".

    Returns:
        8 bytes. JSON that cannot be decoded, such as a thousand levels, is hashed byte for byte.
    """
    try:
        value: Json = msgspec.json.decode(parameters) if parameters else None
        hashed = digest(_flatten({} if value is None else value))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        hashed = digest((b"bytes", parameters))
    return hashed[:FINGERPRINT_LENGTH]


def _flatten(value: Json) -> Iterator[bytes]:
    """Yield a sequence that belongs to no other value: a tag with the number of members, then the members."""
    match value:
        case dict():
            yield b"object %d" % len(value)
            for name in sorted(value):
                yield name.encode()
                yield from _flatten(value[name])
        case list():
            yield b"array %d" % len(value)
            for item in value:
                yield from _flatten(item)
        case str():
            yield b"string"
            yield value.encode()
        case _:
            yield msgspec.json.encode(value)
