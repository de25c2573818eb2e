"""The deterministic name of a run that came with `generateName`: the same delivery always gets the same name.

Names are unique in a namespace, so the API server's storage itself refuses the twin, whatever has become of Redis.
"""

from __future__ import annotations

from typing import Final

from webhook.hooks.dedupe.core.hashing import digest

_PREFIX_LENGTH: Final = 47
_HASH_LENGTH: Final = 16


def generated_name(generate_name: str, ref: str, delivery_id: str) -> str:
    """Name a run after its delivery.

    Args:
        generate_name: The prefix that the client gave.
        ref: The orchestrationRef's name.
        delivery_id: Byte for byte as it came.

    Returns:
        The prefix cut to 47 characters and 16 hex digits: at most 63 characters, as a label value may have.
    """
    return generate_name[:_PREFIX_LENGTH] + _suffix(ref, delivery_id)


def is_generated(name: str, ref: str, delivery_id: str) -> bool:
    """Tell whether a name is one that `generated_name` gives to this delivery under some prefix."""
    return len(name) <= _PREFIX_LENGTH + _HASH_LENGTH and name.endswith(_suffix(ref, delivery_id))


def _suffix(ref: str, delivery_id: str) -> str:
    return digest((ref.encode(), delivery_id.encode())).hex()[:_HASH_LENGTH]
