"""The records of deliveries in Redis. Each call is one script, atomic, and gives the same result if it runs twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Final, cast

from webhook.dedupe.core.identity import BUCKETS, DeliveryKey, mark_key
from webhook.dedupe.core.record import Record, decode, encode
from webhook.dedupe.core.reservation import Mark, ReserveOutcome, ReserveResult
from webhook.dedupe.core.store_findings import findings
from webhook.errors import StoreError
from webhook.runtime.deadline import Deadline
from webhook.store.api import Script, ScriptRunner


def _script(name: str) -> Script:
    return Script.of(files(__package__).joinpath(name).read_text(encoding="utf-8"))


RESERVE: Final = _script("reserve.lua")
SWAP: Final = _script("swap.lua")
MARK: Final = _script("mark.lua")


class Store:
    """Read and write records by delivery, and marks by bucket.

    Args:
        client: The connection to Redis.
    """

    def __init__(self, client: ScriptRunner) -> None:
        self._client = client

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

    async def reserve(
        self, key: DeliveryKey, record: Record, *, ttl: int, deadline: Deadline, instead_of: ReserveResult | None = None
    ) -> ReserveResult:
        """Write a record if there is none and the bucket is synced, or if it replaces the one that was read before.

        Args:
            key: The delivery.
            record: What to write, with `reserved_at` 0; the script writes the store's time there.
            ttl: How long to keep it, in ms.
            deadline: When to give up.
            instead_of: The result that was followed by a proof that no run of the delivery can exist.

        Raises:
            StoreError: No answer. Whether the record was written is unknown; a second call with the same uids is safe.
            UnreadableRecordError: The store holds a record that cannot be decoded.
        """
        reply, acknowledged = await self._client.acknowledged(
            RESERVE,
            (key.record_key, mark_key(key.bucket)),
            (
                encode(record),
                ttl,
                instead_of.raw if instead_of else b"",
                instead_of.mark.raw if instead_of else b"",
            ),
            deadline,
        )
        outcome, raw, now, mark = cast("tuple[bytes, bytes, int, bytes]", reply)
        return ReserveResult(
            ReserveOutcome(outcome), raw, decode(raw) if raw else None, now, Mark.parse(mark), acknowledged
        )

    async def get(self, key: DeliveryKey, deadline: Deadline) -> tuple[bytes, Record | None]:
        """Return the record of a delivery, undecoded and decoded; empty and None if there is none.

        Raises:
            StoreError: No answer.
            UnreadableRecordError: The record cannot be decoded.
        """
        raw = cast("bytes | None", await self._client.command("GET", key.record_key, deadline=deadline)) or b""
        return raw, decode(raw) if raw else None

    async def expires_at(self, key: DeliveryKey, deadline: Deadline) -> float:
        """Return when a record expires, in seconds since 1970 by the store's clock; 0 if it is unknown.

        Raises:
            StoreError: No answer.
        """
        left = cast("int", await self._client.command("PTTL", key.record_key, deadline=deadline))
        if left < 0:
            return 0
        seconds, _ = cast("tuple[int, int]", await self._client.command("TIME", deadline=deadline))
        return seconds + left / 1000

    async def swap(
        self, key: DeliveryKey, expected: bytes, record: Record, deadline: Deadline, *, expires_at: int | None
    ) -> bool:
        """Write a record if the stored one is still the expected one.

        Args:
            key: The delivery.
            expected: The undecoded record; empty for none.
            record: What to write.
            deadline: When to give up.
            expires_at: In ms since 1970; None leaves the expiry unchanged.

        Returns:
            Whether the store now holds the new record.

        Raises:
            StoreError: No answer; it is unknown whether the record was written.
        """
        expiry = b"" if expires_at is None else b"%d" % expires_at
        return await self._client.script(SWAP, (key.record_key,), (expected, encode(record), expiry), deadline) == 1

    async def marks(
        self, deadline: Deadline, buckets: Iterable[int] = range(BUCKETS)
    ) -> tuple[Mapping[int, Mark], int]:
        """Read the marks of buckets. A mark that is missing or has another replication id is replaced by a loss.

        Returns:
            The marks by bucket, and the store's time in ms since 1970.

        Raises:
            StoreError: No answer.
        """
        read = {bucket: await self._mark(bucket, b"", b"", 0, deadline) for bucket in buckets}
        return {bucket: mark for bucket, (mark, _) in read.items()}, min(now for _, now in read.values())

    async def declare_synced(self, bucket: int, seen: Mark, deadline: Deadline) -> bool:
        """Mark a bucket as synced, unless its mark has changed since it was read.

        Returns:
            Whether the bucket is marked as synced now.

        Raises:
            StoreError: No answer.
        """
        mark, _ = await self._mark(bucket, seen.raw, b"W", 0, deadline)
        return mark.synced

    async def declare_lost(self, bucket: int, deadline: Deadline, *, ago: int = 0) -> None:
        """Mark a bucket as lacking records, as of that many ms ago.

        Raises:
            StoreError: No answer.
        """
        await self._mark(bucket, b"*", b"L", ago, deadline)

    async def holds_records(self, deadline: Deadline) -> bool:
        """Return whether the store holds anything except marks.

        Raises:
            StoreError: No answer.
        """
        held = await self._client.size(deadline)
        for bucket in range(BUCKETS) if held else ():
            held -= cast("int", await self._client.command("EXISTS", mark_key(bucket), deadline=deadline))
        return held > 0

    async def declare_new(self, deadline: Deadline) -> None:
        """Mark all buckets of a new store as synced. Wrong for a store that may have been emptied.

        Raises:
            StoreError: No answer, or the store holds records and so is not new.
        """
        if await self.holds_records(deadline):
            raise StoreError("The store holds records and so is not new.")
        marks, _ = await self.marks(deadline)
        for bucket, mark in marks.items():
            await self.declare_synced(bucket, mark, deadline)

    async def _mark(
        self, bucket: int, expected: bytes, letter: bytes, ago: int, deadline: Deadline
    ) -> tuple[Mark, int]:
        reply = await self._client.script(MARK, (mark_key(bucket),), (expected, letter, ago), deadline)
        raw, now = cast("tuple[bytes, int]", reply)
        return Mark.parse(raw), now
