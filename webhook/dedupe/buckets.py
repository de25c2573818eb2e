"""The state of the store's buckets: whether they have lost records, what is pending in them, and what is new.

Each call is one script, atomic, and gives the same result if it runs twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from webhook.dedupe.core.identity import BUCKETS, DIGEST_LENGTH, RecordAddress, bucket_keys, mark_key
from webhook.dedupe.core.pending import CLAIM_MS, LONGEST_PAUSE_MS, parse_member, pending_member
from webhook.dedupe.core.record import UnreadableRecordError
from webhook.dedupe.core.reservation import Mark
from webhook.dedupe.core.store_findings import findings
from webhook.dedupe.scripts import MARK, PENDING, TICK
from webhook.runtime.deadline import Deadline
from webhook.store.api import ScriptRunner

#: How many reservations and pending ones of a bucket one tick returns.
_TICK_RESERVATIONS: Final = 1_000
_TICK_PENDING: Final = 64
_RECORD_KEY_LENGTH: Final = len(mark_key(0)) + DIGEST_LENGTH


@dataclass(frozen=True, slots=True)
class PendingRecord:
    """A pending reservation whose run is to be read.

    Attributes:
        address: The place of its record.
        proved: Whether a read within two seconds of the reservation found no run.
        raw: Its record, undecoded.
    """

    address: RecordAddress
    proved: bool
    raw: bytes

    @property
    def member(self) -> bytes:
        """Its member in the bucket's pending set."""
        return pending_member(self.address, proved=self.proved)


@dataclass(frozen=True, slots=True)
class Tick:
    """What has happened in a bucket.

    Attributes:
        bucket: The bucket.
        mark: Its mark.
        now: The store's time in ms since 1970.
        writes: The number of its last write.
        dataset: The id of its data; empty if it never had all records.
        kept: If it is unsynced because of a restart and nothing else, the number of the last write that the server came
            back with; otherwise None.
        reservations: The number of its last reservation.
        digests: The digests of reservations after the one that was asked from.
        first: The number of the first of them; 0 if there are none.
        due: Pending reservations whose runs are to be read now.
    """

    bucket: int
    mark: Mark
    now: int
    writes: int
    dataset: str
    kept: int | None
    reservations: int
    digests: tuple[bytes, ...]
    first: int
    due: tuple[PendingRecord, ...]


class Buckets:
    """Read and change the state of buckets.

    Args:
        client: The connection to Redis.
        numbers: The buckets that there are.
    """

    def __init__(self, client: ScriptRunner, numbers: Sequence[int] = range(BUCKETS)) -> None:
        self._client = client
        self.numbers = numbers

    async def ping(self, deadline: Deadline) -> None:
        """Check that the store answers.

        Raises:
            StoreError: It does not.
        """
        await self._client.command("PING", deadline=deadline)

    async def findings(self, deadline: Deadline) -> tuple[str, ...]:
        """Return what is unsafe about each server of the store; see `core/store_findings.py`.

        Raises:
            StoreError: A server did not answer.
        """
        return tuple(
            f"{address}: {finding}" if address else finding
            for address, info in (await self._client.infos(deadline)).items()
            for finding in findings(info, replicas=self._client.replicas, member=bool(address))
        )

    async def syncs_each_write(self, deadline: Deadline) -> bool:
        """Return whether the server writes each change to disk before it answers (`appendfsync always`).

        Raises:
            StoreError: No answer, or no right to ask (`+config|get`).
        """
        reply = await self._client.command("CONFIG GET", b"append*", deadline=deadline)
        settings = {_text(name): _text(value) for name, value in _pairs(reply)}
        return settings.get("appendonly") == "yes" and settings.get("appendfsync") == "always"

    async def tick(self, bucket: int, after: int, deadline: Deadline, *, pending: bool = True) -> Tick:
        """Return what has happened in a bucket.

        Args:
            bucket: The bucket.
            after: The number of the last reservation that was read.
            deadline: When to give up.
            pending: Whether to take the pending reservations that are due.

        Raises:
            StoreError: No answer.
            UnreadableRecordError: The mark cannot be decoded.
        """
        keys = bucket_keys(bucket)
        reply = await self._client.script(
            TICK,
            (keys.mark, keys.head, keys.pending, keys.stream),
            (
                after,
                _TICK_RESERVATIONS,
                _TICK_PENDING if pending else 0,
                CLAIM_MS,
                _new_dataset(),
                2 * LONGEST_PAUSE_MS,
            ),
            deadline,
        )
        mark, now, writes, dataset, kept, reservations, digests, first, due = cast(
            "tuple[bytes, int, int, bytes, int, int, list[bytes], int, list[bytes]]", reply
        )
        return Tick(
            bucket,
            Mark.parse(mark),
            now,
            writes,
            dataset.decode(),
            kept=kept if kept >= 0 else None,
            reservations=reservations,
            digests=tuple(digests),
            first=first,
            due=tuple(_pending(bucket, due)),
        )

    async def note_read(
        self, pending: PendingRecord, deadline: Deadline, *, proved: bool = False, again_at: int | None = None
    ) -> bool:
        """Note the result of a read of a pending reservation's run, if the reservation is still the same.

        Args:
            pending: The reservation.
            deadline: When to give up.
            proved: Whether this read, or an earlier one, was soon enough and found no run.
            again_at: When to read next, in ms since 1970 by the store's clock; None to end the reads.

        Raises:
            StoreError: No answer; it is unknown whether it was noted.
        """
        keys = bucket_keys(pending.address.bucket)
        member = b"" if again_at is None else pending_member(pending.address, proved=proved)
        done = await self._client.script(
            PENDING, (pending.address.key, keys.pending), (pending.raw, pending.member, member, again_at or 0), deadline
        )
        return done == 1

    async def record_keys(self, deadline: Callable[[], Deadline]) -> AsyncGenerator[list[bytes]]:
        """Yield the keys of all records, page by page, in no order; a key may come twice.

        Args:
            deadline: Creates the deadline of each page.

        Raises:
            StoreError: No answer.
        """
        async for keys in self._client.keys(b"r{*", deadline):
            yield [key for key in keys if len(key) == _RECORD_KEY_LENGTH]

    async def digests(self, deadline: Callable[[], Deadline]) -> AsyncGenerator[list[bytes]]:
        """Yield the ends of these keys; arguments and errors are those of `record_keys`."""
        async for keys in self.record_keys(deadline):
            yield [key[-DIGEST_LENGTH:] for key in keys]

    async def marks(self, deadline: Deadline) -> tuple[Mapping[int, Mark], int]:
        """Read the marks of all buckets. One that is missing or has another replication id is replaced by a loss.

        Returns:
            The marks by bucket, and the store's time in ms since 1970.

        Raises:
            StoreError: No answer.
        """
        read = await asyncio.gather(*(self._mark(bucket, b"", b"", 0, deadline) for bucket in self.numbers))
        marks = {bucket: mark for bucket, (mark, _) in zip(self.numbers, read, strict=True)}
        return marks, min(now for _, now in read)

    async def declare_synced(self, bucket: int, seen: Mark, deadline: Deadline) -> bool:
        """Mark a bucket as synced, unless its mark has changed since it was read. Its data gets a new id.

        Returns:
            Whether the bucket is marked as synced now.

        Raises:
            StoreError: No answer.
        """
        mark, _ = await self._mark(bucket, seen.raw, b"W", _new_dataset(), deadline)
        return mark.synced

    async def declare_unchanged(self, bucket: int, seen: Mark, deadline: Deadline) -> bool:
        """Mark a bucket as synced after a restart that has lost nothing, unless anything else has happened since.

        Returns:
            Whether the bucket is marked as synced now.

        Raises:
            StoreError: No answer.
        """
        mark, _ = await self._mark(bucket, seen.raw, b"P", 0, deadline)
        return mark.synced

    async def declare_lost(self, bucket: int, deadline: Deadline, *, ago: int = 0) -> None:
        """Mark a bucket as lacking records, as of that many ms ago; a later loss that is known stays.

        Raises:
            StoreError: No answer.
        """
        await self._mark(bucket, b"*", b"L", ago, deadline)

    async def was_used(self, deadline: Callable[[], Deadline]) -> bool:
        """Return whether the store holds a record, or a bucket has had all records before.

        Raises:
            StoreError: No answer.
        """
        async for keys in self.record_keys(deadline):
            if keys:
                return True
        ticks = await asyncio.gather(*(self.tick(bucket, 0, deadline(), pending=False) for bucket in self.numbers))
        return any(tick.dataset for tick in ticks)

    async def declare_all_synced(self, deadline: Deadline) -> None:
        """Mark all buckets as synced: right only for a store that is known to be new.

        Raises:
            StoreError: No answer.
        """
        marks, _ = await self.marks(deadline)
        for bucket, mark in marks.items():
            await self.declare_synced(bucket, mark, deadline)

    async def _mark(
        self, bucket: int, expected: bytes, letter: bytes, value: bytes | int, deadline: Deadline
    ) -> tuple[Mark, int]:
        keys = bucket_keys(bucket)
        reply = await self._client.script(MARK, (keys.mark, keys.head), (expected, letter, value), deadline)
        raw, now = cast("tuple[bytes, int]", reply)
        return Mark.parse(raw), now


def _new_dataset() -> bytes:
    return secrets.token_hex(4).encode()


def _pending(bucket: int, due: Sequence[bytes]) -> Iterable[PendingRecord]:
    for member, raw in zip(due[::2], due[1::2], strict=True):
        try:
            address, proved = parse_member(bucket, member)
        except UnreadableRecordError:
            continue  # A damaged member must not keep the others from being read.
        yield PendingRecord(address, proved, raw)


def _pairs(reply: object) -> Iterable[tuple[object, object]]:
    if isinstance(reply, Mapping):
        return reply.items()
    items = list(cast("Sequence[object]", reply))
    return zip(items[::2], items[1::2], strict=True)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
