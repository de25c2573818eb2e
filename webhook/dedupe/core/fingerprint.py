"""A fingerprint of a run's parameters, to detect a client that uses a deliveryId again for something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from webhook.dedupe.core.identity import digest

FINGERPRINT_LENGTH: Final = 8
#: More values than this would stop the server for longer than a few hundredths of a second.
_MOST_VALUES: Final = 20_000

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def fingerprint(parameters: bytes) -> bytes:
    """Return a hash of parameters that does not depend on the order of keys, but on everything else.

    Args:
        parameters: The JSON of `spec.parameters`; empty, `null` and `{}` all mean "no parameters".

    Returns:
        8 bytes. JSON that cannot be decoded, such as a thousand levels, and JSON of very many values are hashed byte
        for byte. The API server always writes an object in the same way.
    """
    if sum(map(parameters.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        return digest((b"bytes", parameters))[:FINGERPRINT_LENGTH]
    try:
        value: Json = msgspec.json.decode(parameters) if parameters else None
        hashed = digest(_flatten({} if value is None else value))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        hashed = digest((b"bytes", parameters))
    return hashed[:FINGERPRINT_LENGTH]


def _flatten(value: Json) -> Iterator[bytes]:
    """Yield a sequence that belongs to no other value: a tag with the number of members, then the members.

    It takes time that is linear in the size, however deep the value is nested.
    """
    # What is still to do, last first: values, and the name of each that is a member of an object.
    waiting: list[tuple[bytes | None, Json]] = [(None, value)]
    while waiting:
        name, value = waiting.pop()
        if name is not None:
            yield name
        match value:
            case dict():
                yield b"object %d" % len(value)
                waiting += [(key.encode(), value[key]) for key in sorted(value, reverse=True)]
            case list():
                yield b"array %d" % len(value)
                waiting += [(None, item) for item in reversed(value)]
            case str():
                yield b"string"
                yield value.encode()
            case _:
                yield msgspec.json.encode(value)
