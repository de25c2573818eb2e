"""A fingerprint of a run's parameters, to tell a client that reuses a deliveryId for something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from webhook.hooks.dedupe.core.hashing import digest

FINGERPRINT_LENGTH: Final = 8

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def fingerprint(parameters: bytes) -> bytes:
    """Hash parameters so that the order of keys does not matter and nothing else is lost.

    Args:
        parameters: The JSON of `spec.parameters`; empty, `null` and `{}` are all "no parameters".

    Returns:
        8 bytes. What cannot be decoded, such as a thousand levels, is taken byte for byte.
    """
    try:
        value: Json = msgspec.json.decode(parameters) if parameters else None
        hashed = digest(_parts({} if value is None else value))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        hashed = digest((b"bytes", parameters))
    return hashed[:FINGERPRINT_LENGTH]


def _parts(value: Json) -> Iterator[bytes]:
    """Write a value as a sequence that no other value has: each a tag, how many follow, and those."""
    match value:
        case dict():
            yield b"object %d" % len(value)
            for name in sorted(value):
                yield name.encode()
                yield from _parts(value[name])
        case list():
            yield b"array %d" % len(value)
            for item in value:
                yield from _parts(item)
        case str():
            yield b"string"
            yield value.encode()
        case _:
            yield msgspec.json.encode(value)
