"""The records of deliveries in Redis. Each call is one script, atomic, and gives the same result if it runs twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

from webhook.dedupe.core.identity import DeliveryKey, RecordAddress, bucket_keys
from webhook.dedupe.core.pending import FIRST_READ_MS
from webhook.dedupe.core.record import OLD_VERSION, Record, decode, encode
from webhook.dedupe.core.reservation import CLOCK_TOLERANCE_MS, Mark, ReserveOutcome, ReserveResult
from webhook.dedupe.positions import Positions
from webhook.dedupe.scripts import MARK, RESERVE, SWAP
from webhook.errors import StoreError
from webhook.runtime.deadline import Deadline
from webhook.store.api import ScriptRunner

#: How many reservations of a bucket the stream keeps for replicas that follow it.
STREAM_LENGTH: Final = 1_000


class Store:
    """Read and write records by delivery.

    Args:
        client: The connection to Redis.
        positions: Receives the number of each write.
        record_version: The version of the records that are written.
    """

    def __init__(self, client: ScriptRunner, positions: Positions, *, record_version: int = OLD_VERSION) -> None:
        self._client = client
        self._positions = positions
        self._version = record_version

    async def reserve(
        self,
        key: DeliveryKey,
        record: Record,
        *,
        ttl: int,
        deadline: Deadline,
        instead_of: ReserveResult | None = None,
        doubted: bool = False,
        api_time: int = 0,
    ) -> ReserveResult:
        """Write a record if there is none and the bucket is synced, or if it replaces the one that was read before.

        Args:
            key: The delivery.
            record: What to write, with `reserved_at` 0; the script writes the store's time there.
            ttl: How long to keep it, in ms.
            deadline: When to give up.
            instead_of: The result that was followed by a proof that no run of the delivery can exist.
            doubted: Whether a missing record proves nothing, even if the bucket is synced.
            api_time: The API server's time in ms since 1970, to notice that the store's clock has jumped; 0 if unknown.

        Raises:
            StoreError: No answer. Whether the record was written is unknown; a second call with the same uids is safe.
            UnreadableRecordError: The store holds a record that cannot be decoded.
        """
        arguments = (
            encode(record, self._version),
            ttl,
            instead_of.raw if instead_of else b"",
            instead_of.mark.raw if instead_of else b"",
            key.namespace.encode(),
            api_time,
            CLOCK_TOLERANCE_MS,
            FIRST_READ_MS,
            STREAM_LENGTH,
            int(doubted),
        )
        result = await self._reserve(key, arguments, deadline)
        if result.outcome is ReserveOutcome.JUMPED:
            # The answer has come in time, so the call was not late: the clock has jumped, and missing records may have
            # expired by that.
            keys = bucket_keys(key.bucket)
            await self._client.script(MARK, (keys.mark, keys.head), (b"*", b"J", api_time), deadline)
            result = await self._reserve(key, arguments, deadline)
        if result.outcome is ReserveOutcome.JUMPED:
            raise StoreError("The clock of Redis keeps jumping.")
        return replace(result, doubted=doubted)

    async def _reserve(self, key: DeliveryKey, arguments: Sequence[bytes | int], deadline: Deadline) -> ReserveResult:
        keys = bucket_keys(key.bucket)
        reply, acknowledged = await self._client.acknowledged(
            RESERVE, (key.record_key, keys.mark, keys.head, keys.pending, keys.stream), arguments, deadline
        )
        outcome, raw, now, mark, writes, proved = cast("tuple[bytes, bytes, int, bytes, int, int]", reply)
        parsed = Mark.parse(mark)
        self._positions.note_write(key.bucket, writes, parsed)
        return ReserveResult(
            ReserveOutcome(outcome),
            raw,
            decode(raw) if raw else None,
            now,
            parsed,
            proved=bool(proved),
            acknowledged=acknowledged,
        )

    async def get(self, address: RecordAddress, deadline: Deadline) -> tuple[bytes, Record | None]:
        """Return the record of a delivery, undecoded and decoded; empty and None if there is none.

        Raises:
            StoreError: No answer.
            UnreadableRecordError: The record cannot be decoded.
        """
        raw = cast("bytes | None", await self._client.command("GET", address.key, deadline=deadline)) or b""
        return raw, decode(raw) if raw else None

    async def expires_at(self, address: RecordAddress, deadline: Deadline) -> float:
        """Return when a record expires, in seconds since 1970 by the store's clock; 0 if it is unknown.

        Raises:
            StoreError: No answer.
        """
        left = cast("int", await self._client.command("PTTL", address.key, deadline=deadline))
        if left < 0:
            return 0
        seconds, _ = cast("tuple[int, int]", await self._client.command("TIME", deadline=deadline))
        return seconds + left / 1000

    async def swap(
        self,
        address: RecordAddress,
        expected: bytes,
        record: Record | None,
        deadline: Deadline,
        *,
        expires_at: int | None = None,
    ) -> bool:
        """Write a record if the stored one is still the expected one. It is not pending any more.

        Args:
            address: The place of the record.
            expected: The undecoded record; empty for none.
            record: What to write; None deletes the record.
            deadline: When to give up.
            expires_at: In ms since 1970; None leaves the expiry unchanged.

        Returns:
            Whether the store now holds the new record.

        Raises:
            StoreError: No answer; it is unknown whether the record was written.
        """
        keys = bucket_keys(address.bucket)
        expiry = b"" if expires_at is None else b"%d" % expires_at
        written, writes, mark = cast(
            "tuple[int, int, bytes]",
            await self._client.script(
                SWAP,
                (address.key, keys.mark, keys.head, keys.pending, keys.stream),
                (
                    expected,
                    encode(record, self._version) if record else b"",
                    expiry,
                    address.namespace.encode(),
                    STREAM_LENGTH,
                ),
                deadline,
            ),
        )
        self._positions.note_write(address.bucket, writes, Mark.parse(mark))
        return written == 1
