"""The memory of deliveries in Redis: each call one script, atomic, and safe to run twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from typing import Final, Protocol, cast

from webhook.admission.deadline import Deadline
from webhook.clients.redis import Script
from webhook.errors import StoreError
from webhook.hooks.dedupe.core.decide import Trust
from webhook.hooks.dedupe.core.inspection import findings
from webhook.hooks.dedupe.core.key import BUCKETS, DeliveryKey, mark_key
from webhook.hooks.dedupe.core.record import Record, decode, encode


def _script(name: str) -> Script:
    return Script.of(files(__package__).joinpath(name).read_text(encoding="utf-8"))


RESERVE: Final = _script("reserve.lua")
SWAP: Final = _script("swap.lua")
MARK: Final = _script("mark.lua")


class Outcome(Enum):
    """What became of an attempt to reserve."""

    MADE = b"made"
    OWN = b"own"
    FOUND = b"found"
    MISSING = b"missing"


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a bucket.

    Attributes:
        raw: As the store holds it.
        whole: Whether a miss is to be believed.
        lost_at: Otherwise, when the loss was noticed, in ms of the store's clock.
    """

    raw: bytes
    whole: bool
    lost_at: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> Mark:
        """Read a mark: `W<replication id>` or `L<replication id>:<ms>`."""
        if raw.startswith(b"W"):
            return cls(raw, whole=True)
        return cls(raw, whole=False, lost_at=int(raw.rpartition(b":")[2]))

    def trust(self, now: int, lease: int) -> Trust:
        """Say what a miss is worth at a time; both in ms."""
        if self.whole:
            return Trust.WHOLE
        return Trust.LOST if now - self.lost_at < lease else Trust.DOUBTED


@dataclass(frozen=True, slots=True)
class View:
    """What the store answered to an attempt to reserve.

    Attributes:
        outcome: Whether it succeeded, or why not.
        raw: The record that stands in the way, undecoded; empty if none does.
        record: The same, decoded.
        now: The store's time, in ms since 1970.
        mark: Of the bucket.
        acknowledged: Whether as many replicas have the record as are asked to.
    """

    outcome: Outcome
    raw: bytes
    record: Record | None
    now: int
    mark: Mark
    acknowledged: bool = True


class ScriptRunner(Protocol):
    """The connection, as far as the store uses it."""

    @property
    def replicas(self) -> int:
        """How many replicas are asked to acknowledge a reservation."""

    async def script(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> object:
        """Run a script, once or twice."""

    async def acknowledged(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> tuple[object, bool]:
        """Run a script, once or twice, and tell whether as many replicas have what it wrote as are asked to."""

    async def command(self, name: str, *words: bytes | int, deadline: Deadline) -> object:
        """Send a command, once or twice."""

    async def size(self, deadline: Deadline) -> int:
        """Return how many keys there are."""

    async def infos(self, deadline: Deadline) -> Mapping[str, Mapping[str, str]]:
        """Return what each server says of itself, by its address."""


class Store:
    """Records by delivery.

    Args:
        client: The connection.
    """

    def __init__(self, client: ScriptRunner) -> None:
        self._client = client

    async def ping(self, deadline: Deadline) -> None:
        """Ask whether the store answers.

        Raises:
            StoreError: It does not.
        """
        await self._client.command("PING", deadline=deadline)

    async def findings(self, deadline: Deadline) -> tuple[str, ...]:
        """Look at every server of the store, and say what is unsafe about it; see `core/inspection.py`.

        Raises:
            StoreError: One of them did not answer.
        """
        return tuple(
            f"{address}: {finding}" if address else finding
            for address, info in (await self._client.infos(deadline)).items()
            for finding in findings(info, replicas=self._client.replicas, member=bool(address))
        )

    async def reserve(
        self, key: DeliveryKey, record: Record, *, ttl: int, deadline: Deadline, instead_of: View | None = None
    ) -> View:
        """Write a record if there is none and that is believable, or if it is to replace the one that was seen.

        Args:
            key: The delivery.
            record: What to write, its `reserved_at` 0; the store puts its own time there.
            ttl: For how long, in ms.
            deadline: For the answer.
            instead_of: What was seen before it was proved that no run of the delivery can exist.

        Raises:
            StoreError: No answer, or a record that cannot be read. Whether the record was written is unknown; to ask
                again with the same uids is safe.
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
        return View(Outcome(outcome), raw, decode(raw) if raw else None, now, Mark.parse(mark), acknowledged)

    async def get(self, key: DeliveryKey, deadline: Deadline) -> tuple[bytes, Record | None]:
        """Return the record of a delivery, undecoded and decoded.

        Raises:
            StoreError: No answer, or a record that cannot be read.
        """
        raw = cast("bytes | None", await self._client.command("GET", key.record_key, deadline=deadline)) or b""
        return raw, decode(raw) if raw else None

    async def expires_at(self, key: DeliveryKey, deadline: Deadline) -> float:
        """Return when a record expires, in seconds since 1970 by the store's clock; 0 if that is not known.

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
        """Write a record if the one there is still the one expected.

        Args:
            key: The delivery.
            expected: The undecoded record; empty for none.
            record: What to write.
            deadline: For the answer.
            expires_at: In ms since 1970; None leaves it as it is.

        Returns:
            Whether the record is now what was to be written.

        Raises:
            StoreError: No answer; whether it was written is unknown.
        """
        expiry = b"" if expires_at is None else b"%d" % expires_at
        return await self._client.script(SWAP, (key.record_key,), (expected, encode(record), expiry), deadline) == 1

    async def marks(
        self, deadline: Deadline, buckets: Iterable[int] = range(BUCKETS)
    ) -> tuple[Mapping[int, Mark], int]:
        """Look at the marks of buckets; one that is missing or of another server's life becomes a loss by this.

        Returns:
            The marks by bucket, and the store's time in ms since 1970.

        Raises:
            StoreError: No answer.
        """
        seen = {bucket: await self._mark(bucket, b"", b"", 0, deadline) for bucket in buckets}
        return {bucket: mark for bucket, (mark, _) in seen.items()}, min(now for _, now in seen.values())

    async def declare_whole(self, bucket: int, seen: Mark, deadline: Deadline) -> bool:
        """Say that a bucket holds all that it should, unless it was lost again since its mark was seen.

        Raises:
            StoreError: No answer.
        """
        mark, _ = await self._mark(bucket, seen.raw, b"W", 0, deadline)
        return mark.whole

    async def declare_lost(self, bucket: int, deadline: Deadline, *, ago: int = 0) -> None:
        """Say that a bucket lacks something, as of so many ms ago.

        Raises:
            StoreError: No answer.
        """
        await self._mark(bucket, b"*", b"L", ago, deadline)

    async def holds_records(self, deadline: Deadline) -> bool:
        """Tell whether the store holds anything besides marks.

        Raises:
            StoreError: No answer.
        """
        held = await self._client.size(deadline)
        for bucket in range(BUCKETS) if held else ():
            held -= cast("int", await self._client.command("EXISTS", mark_key(bucket), deadline=deadline))
        return held > 0

    async def declare_new(self, deadline: Deadline) -> None:
        """Say of a store that has just been made that it lacks nothing. Wrong for one that may have been emptied.

        Raises:
            StoreError: No answer, or it holds records already.
        """
        if await self.holds_records(deadline):
            raise StoreError("The store holds records and so is not new.")
        marks, _ = await self.marks(deadline)
        for bucket, mark in marks.items():
            await self.declare_whole(bucket, mark, deadline)

    async def _mark(
        self, bucket: int, expected: bytes, letter: bytes, ago: int, deadline: Deadline
    ) -> tuple[Mark, int]:
        reply = await self._client.script(MARK, (mark_key(bucket),), (expected, letter, ago), deadline)
        raw, now = cast("tuple[bytes, int]", reply)
        return Mark.parse(raw), now
