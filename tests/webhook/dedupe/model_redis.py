"""A model of the scripts in Python.

`test_scripts.py` compares it with the scripts on a real Valkey. `test_model.py` and `test_exploration.py` use it in
place of Valkey, because it can lose a message, a record or all records at any chosen step.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from webhook.dedupe.scripts import MARK, PENDING, RESERVE, SWAP, TICK
from webhook.errors import StoreError
from webhook.runtime.deadline import Deadline
from webhook.store.api import Script

Reply = list[object]


@dataclass
class Bucket:
    """What a server keeps for a bucket beside its records.

    Attributes:
        mark: Its mark; empty if it has none.
        head: The fields of its head.
        pending: The members of its pending set, each with the time at which it is due.
        stream: The digests of reservations by their numbers.
    """

    mark: bytes = b""
    head: dict[str, bytes] = field(default_factory=dict)
    pending: dict[bytes, int] = field(default_factory=dict)
    stream: dict[int, bytes] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """Return a field of the head as a number; 0 if it does not exist."""
        return int(self.head.get(name, b"0"))

    def count(self, name: str) -> int:
        """Add 1 to a field of the head and return it."""
        self.head[name] = b"%d" % (self.number(name) + 1)
        return self.number(name)


@dataclass
class ModelRedis:
    """A server.

    Attributes:
        now: Its clock, in ms since 1970.
        replid: Its replication id; another one after a restart or a failover.
        keys: Records and when they expire, in ms since 1970.
        buckets: The state of buckets, by the key of their mark.
    """

    now: Callable[[], int]
    replid: bytes = b"0" * 40
    keys: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    buckets: dict[bytes, Bucket] = field(default_factory=dict)

    def data(self) -> tuple[dict[bytes, tuple[bytes, int]], dict[bytes, Bucket]]:
        """Return a copy of all data, as a replica or a file has it."""
        return copy.deepcopy((self.keys, self.buckets))

    def restart(self, replid: bytes, data: tuple[dict[bytes, tuple[bytes, int]], dict[bytes, Bucket]]) -> None:
        """Come back with other data, as another server."""
        self.replid = replid
        self.keys, self.buckets = copy.deepcopy(data)

    def get(self, key: bytes) -> bytes:
        """Return a record, or empty bytes."""
        value, expiry = self.keys.get(key, (b"", 0))
        if value and expiry <= self.now():
            del self.keys[key]
            return b""
        return value

    def bucket(self, key: bytes) -> Bucket:
        """Return the state of a bucket by a key of it."""
        return self.buckets.setdefault(key[:5], Bucket())

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]) -> object:
        """Run a script."""
        scripts = {RESERVE: self.reserve, SWAP: self.swap, MARK: self.mark, TICK: self.tick, PENDING: self.pending}
        return scripts[script](keys[0], *args)

    def reserve(self, key: bytes, *args: bytes | int) -> Reply:
        """Do the same as `reserve.lua`."""
        record, ttl, expected, proof, namespace, caller, tolerance, first_read, _, doubted = args
        assert isinstance(record, bytes)
        assert isinstance(namespace, bytes)
        bucket, now = self.bucket(key), self.now()
        mark, digest = self._current_mark(bucket), key[-16:]
        ahead, writes = int(caller) - now, bucket.number("n")
        offset = int(bucket.head.get("o", b"%d" % ahead))
        if caller and ahead < offset - int(tolerance):
            return [b"jumped", b"", now, mark, writes, 0]
        found = self.get(key)
        synced = mark.startswith(b"W") and not int(doubted)
        if found and found != expected:
            if found[1] == 1 and (found[8:24] == record[8:24] or found[24:30] == record[24:30]):
                return [b"own", found, now, mark, writes, 0]
            if found[1] == 1:
                found = self._stamped(key, found)
            proved = int(digest + b"1" + namespace in bucket.pending)
            return [b"found", found, now, mark, writes, proved]
        if (found or not synced) and mark != proof:
            return [b"found" if found else b"missing", found, now, mark, writes, 0]
        self.keys[key] = (record[:2] + now.to_bytes(6, "big") + record[8:], now + int(ttl))
        writes = bucket.count("n")
        if caller:
            bucket.head["o"] = b"%d" % max(offset, ahead)
        bucket.pending.pop(digest + b"1" + namespace, None)
        bucket.pending[digest + b"0" + namespace] = now + int(first_read)
        self._append(bucket, digest)
        return [b"made", b"", now, mark, writes, 0]

    @staticmethod
    def _append(bucket: Bucket, digest: bytes) -> None:
        number = bucket.count("s")
        if number <= max(bucket.stream, default=0):
            bucket.stream.clear()
        bucket.stream[number] = digest

    def swap(self, key: bytes, *args: bytes | int) -> Reply:
        """Do the same as `swap.lua`."""
        expected, record, expiry, namespace, _ = args
        assert isinstance(record, bytes)
        assert isinstance(namespace, bytes)
        bucket, found = self.bucket(key), self.get(key)
        mark = self._current_mark(bucket)
        if found not in {expected, record}:
            return [0, bucket.number("n"), mark]
        if found != record:
            if not record:
                del self.keys[key]
            else:
                self.keys[key] = (record, int(expiry) if expiry != b"" else self.keys[key][1])
            bucket.count("n")
            if not found:
                self._append(bucket, key[-16:])
        for flag in (b"0", b"1"):
            bucket.pending.pop(key[-16:] + flag + namespace, None)
        return [1, bucket.number("n"), mark]

    def mark(self, key: bytes, *args: bytes | int) -> Reply:
        """Do the same as `mark.lua`."""
        expected, letter, value = args
        bucket, now = self.bucket(key), self.now()
        mark = self._current_mark(bucket)
        if expected == b"" or expected not in {b"*", mark}:
            return [mark, now]
        if letter == b"J":
            bucket.head["o"] = b"%d" % (int(value) - now)
            return [self._set_lost(bucket, now, restarted=False), now]
        if letter == b"L":
            return [self._set_lost(bucket, now - int(value), restarted=False), now]
        if letter == b"P" and bucket.head.get("r") != mark:
            return [mark, now]
        if letter == b"W":
            assert isinstance(value, bytes)
            bucket.head["d"] = value
        bucket.mark, bucket.head["r"] = b"W" + self.replid, b""
        return [bucket.mark, now]

    def tick(self, key: bytes, *args: bytes | int) -> Reply:
        """Do the same as `tick.lua`."""
        after, most, most_pending, claim, dataset, longest = args
        assert isinstance(dataset, bytes)
        bucket, now = self.bucket(key), self.now()
        mark = self._current_mark(bucket)
        if mark.startswith(b"W"):
            bucket.head.setdefault("d", dataset)
        numbers = sorted(bucket.stream) if bucket.number("s") > int(after) else []
        new = [number for number in numbers if number > int(after)][: int(most)]
        due: list[bytes] = []
        waiting = sorted(bucket.pending, key=lambda member: (bucket.pending[member], member))
        past = [member for member in waiting if bucket.pending[member] <= now]
        future = [member for member in waiting if bucket.pending[member] >= now + int(longest)]
        for member in (*past[: int(most_pending)], *future[: int(most_pending)]):
            record = self.get(key[:5] + member[:16])
            if record[1:2] == b"\x01":
                bucket.pending[member] = now + int(claim)
                due += [member, self._stamped(key[:5] + member[:16], record)]
            else:
                del bucket.pending[member]
        kept = bucket.number("m") if bucket.head.get("r") == mark else -1
        reservations = bucket.number("s")
        digests, first = [bucket.stream[number] for number in new], new[0] if new else 0
        return [mark, now, bucket.number("n"), bucket.head.get("d", b""), kept, reservations, digests, first, due]

    def pending(self, key: bytes, *args: bytes | int) -> int:
        """Do the same as `pending.lua`."""
        record, member, replacement, at = args
        assert isinstance(member, bytes)
        assert isinstance(replacement, bytes)
        if self.get(key) != record:
            return 0
        bucket = self.bucket(key)
        if replacement != member:
            bucket.pending.pop(member, None)
        if replacement:
            bucket.pending[replacement] = int(at)
        return 1

    def _stamped(self, key: bytes, record: bytes) -> bytes:
        now = self.now()
        if len(record) < 8 or int.from_bytes(record[2:8], "big") <= now:
            return record
        record = record[:2] + now.to_bytes(6, "big") + record[8:]
        self.keys[key] = (record, self.keys[key][1])
        return record

    def _current_mark(self, bucket: Bucket) -> bytes:
        if bucket.mark[:1] in {b"W", b"L"} and bucket.mark[1:41] == self.replid:
            at = bucket.mark.rpartition(b":")[2]
            future = at.isdigit() and int(at) > self.now()
            return self._set_lost(bucket, self.now(), restarted=False) if future else bucket.mark
        return self._set_lost(bucket, self.now(), restarted=bucket.mark.startswith(b"W"))

    def _set_lost(self, bucket: Bucket, at: int, *, restarted: bool) -> bytes:
        known = int(bucket.mark.rpartition(b":")[2]) if bucket.mark.startswith(b"L") else 0
        bucket.mark = b"L%s:%d" % (self.replid, min(max(known, at), self.now()))
        bucket.head |= {"r": bucket.mark if restarted else b"", "m": b"%d" % bucket.number("n")}
        return bucket.mark


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
        """Run a GET, or tell that each write is synchronized."""
        if name == "CONFIG GET":
            return await self._twice(lambda: [b"appendonly", b"yes", b"appendfsync", b"always"], deadline)
        (key,) = words
        assert name == "GET"
        assert isinstance(key, bytes)
        return await self._twice(lambda: self.server.get(key), deadline)

    async def keys(self, pattern: bytes, deadline: Callable[[], Deadline]) -> AsyncGenerator[list[bytes]]:
        """Yield the keys of all records, in one page."""
        assert pattern == b"r{*"
        found = await self._twice(lambda: [key for key in list(self.server.keys) if self.server.get(key)], deadline())
        assert isinstance(found, list)
        yield found

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
