"""Decode what the API server stores, however deep it is nested.

The API server accepts 10,000 levels, in every custom resource whose schema lets unknown fields through. With Python's
usual limit one such object would end a list or a watch for all others.
"""

from __future__ import annotations

import sys
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

#: Twice the levels that the API server accepts. A level of msgspec's decoder takes about 100 bytes of the C stack.
_LEVELS: Final = 20_000


class DeepDecoder(Generic[T]):
    """Decode JSON like `msgspec.json.Decoder`, and what is nested too deep for it with another limit of recursion.

    Args:
        kind: The type to decode.
    """

    def __init__(self, kind: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, data: bytes | str | msgspec.Raw) -> T:
        """Decode a document.

        Raises:
            msgspec.DecodeError: It is not JSON, or not of the type.
            UnicodeDecodeError: A string is not Unicode.
            RecursionError: It is nested deeper than anything that the API server accepts.
        """
        try:
            return self._decoder.decode(data)
        except RecursionError:
            pass
        usual = sys.getrecursionlimit()
        sys.setrecursionlimit(_LEVELS)
        try:
            return self._decoder.decode(data)
        finally:
            sys.setrecursionlimit(usual)
