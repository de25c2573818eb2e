"""A model of the three scripts in Python.

`test_scripts.py` compares it with the scripts on a real Valkey. `test_model.py` uses it in place of Valkey, because it
can lose a message, a record or all records at any chosen step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from webhook.dedupe.store import RESERVE, SWAP
from webhook.errors import StoreError
from webhook.runtime.deadline import Deadline
from webhook.store.api import Script


@dataclass
class ModelRedis:
    """A server.

    Attributes:
        now: Its clock, in ms since 1970.
        replid: Its replication id; another one after a restart or a failover.
        keys: Values and when they expire, in ms since 1970; None for never.
    """

    now: Callable[[], int]
    replid: bytes = b"0" * 40
    keys: dict[bytes, tuple[bytes, int | None]] = field(default_factory=dict)

    def get(self, key: bytes) -> bytes:
        """Return the value, or an empty one."""
        value, expiry = self.keys.get(key, (b"", None))
        if expiry is not None and expiry <= self.now():
            del self.keys[key]
            return b""
        return value

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]) -> object:
        """Run a script."""
        if script is RESERVE:
            return self.reserve(keys[0], keys[1], *args)
        if script is SWAP:
            return self.swap(keys[0], *args)
        return self.mark(keys[0], *args)

    def reserve(self, key: bytes, mark_key: bytes, *args: bytes | int) -> list[bytes | int]:
        """Do the same as `reserve.lua`."""
        record, ttl, expected, proof = args
        assert isinstance(record, bytes)
        assert isinstance(ttl, int)
        now, mark, found = self.now(), self._present_mark(mark_key), self.get(key)
        if found and found != expected:
            own = found[1] == 1 and (found[8:24] == record[8:24] or found[24:30] == record[24:30])
            return [b"own" if own else b"found", found, now, mark]
        if (found or not mark.startswith(b"W")) and mark != proof:
            return [b"found" if found else b"missing", found, now, mark]
        self.keys[key] = (record[:2] + now.to_bytes(6, "big") + record[8:], now + ttl)
        return [b"made", b"", now, mark]

    def swap(self, key: bytes, *args: bytes | int) -> int:
        """Do the same as `swap.lua`."""
        expected, record, expiry = args
        assert isinstance(record, bytes)
        found = self.get(key)
        if found == record:
            return 1
        if found != expected:
            return 0
        if not record:
            del self.keys[key]
        else:
            self.keys[key] = (record, int(expiry) if expiry != b"" else self.keys[key][1])
        return 1

    def mark(self, key: bytes, *args: bytes | int) -> list[bytes | int]:
        """Do the same as `mark.lua`."""
        expected, letter, ago = args
        now, mark = self.now(), self._present_mark(key)
        if expected in {b"*", mark}:
            mark = b"W" + self.replid if letter == b"W" else b"L%s:%d" % (self.replid, now - int(ago))
            self.keys[key] = (mark, None)
        return [mark, now]

    def _present_mark(self, key: bytes) -> bytes:
        mark = self.get(key)
        if mark[1:41] != self.replid:
            mark = b"L%s:%d" % (self.replid, self.now())
            self.keys[key] = (mark, None)
        return mark


class MessageLostError(StoreError):
    """A request or a reply was lost."""


@dataclass
class ModelClient:
    """A replica's connection to a server, on which requests and replies can be lost.

    Attributes:
        server: The server.
        travel: Awaited for each request and each reply; raises `MessageLostError` if it is lost. The argument says
            whether the call is repeated because a message was lost before.
        replicas: How many replicas must acknowledge a reservation.
    """

    server: ModelRedis
    travel: Callable[[bool], Awaitable[None]]
    replicas: int = 0

    async def script(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes | int],
        deadline: Deadline,
    ) -> object:
        """Run a script; a second time if a message was lost, as the real client does."""
        return await self._twice(lambda: self.server.run(script, keys, args), deadline)

    async def acknowledged(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> tuple[object, bool]:
        """Run a script; there are no replicas."""
        return await self.script(script, keys, args, deadline), True

    async def infos(self, deadline: Deadline) -> Mapping[str, Mapping[str, str]]:
        """Fail: no test of the model checks the server."""
        raise NotImplementedError

    async def command(self, name: str, *words: bytes | int, deadline: Deadline) -> object:
        """Run a GET."""
        (key,) = words
        assert name == "GET"
        assert isinstance(key, bytes)
        return await self._twice(lambda: self.server.get(key), deadline)

    async def size(self, deadline: Deadline) -> int:
        """Return the number of keys."""
        await self._twice(lambda: None, deadline)
        return len(self.server.keys)

    async def _twice(self, call: Callable[[], object], deadline: Deadline) -> object:
        try:
            return await self._once(call, deadline, repeated=False)
        except StoreError as error:
            return await self._once(call, deadline, repeated=isinstance(error, MessageLostError))

    async def _once(self, call: Callable[[], object], deadline: Deadline, *, repeated: bool) -> object:
        await self.travel(repeated)
        reply = call()
        await self.travel(repeated)
        if deadline.remaining() <= 0:
            raise StoreError("Redis did not answer in time.")
        return reply
