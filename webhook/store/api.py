"""The calls that rollonce makes to Redis or Valkey; importing this does not load the client library."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from webhook.runtime.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; the server keeps it under its SHA-1, so that only the hash is sent.

    Attributes:
        source: The Lua source.
        sha: The SHA-1 of the source, in hex digits.
    """

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        """Return the script with its hash."""
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class ScriptRunner(Protocol):
    """A connection to the store. Each call may be sent twice if an answer was lost."""

    @property
    def replicas(self) -> int:
        """How many replicas have to acknowledge a reservation."""

    async def script(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> object:
        """Run a script and return its result.

        Raises:
            StoreError: No answer in time, or an error.
        """

    async def acknowledged(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> tuple[object, bool]:
        """Run a script; return its result, and whether enough replicas have what it wrote.

        Raises:
            StoreError: No answer in time, or an error.
        """

    async def command(self, name: str, *words: bytes | int, deadline: Deadline) -> object:
        """Send a command and return its result.

        Raises:
            StoreError: No answer in time, or an error.
        """

    def keys(self, pattern: bytes, deadline: Callable[[], Deadline]) -> AsyncGenerator[list[bytes]]:
        """Yield the keys that match a pattern, page by page, in no order; a key may come twice.

        Args:
            pattern: A glob pattern.
            deadline: Creates the deadline of each page.

        Raises:
            StoreError: No answer in time, or an error.
        """

    async def infos(self, deadline: Deadline) -> Mapping[str, Mapping[str, str]]:
        """Return the result of `INFO` of each server, by its address.

        Raises:
            StoreError: No answer in time, or an error.
        """
