"""What must outlive the servers and the store: a document that is kept at the API server.

It says which servers admitted creates without the store, and up to which point each server has seen the store's
writes. All times are the API server's, in seconds since 1970, from the `Date` of its replies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from webhook.errors import DataError

VERSION: Final = 1
#: For so many seconds what a server has read of the document is trusted.
TRUSTED_SECONDS: Final = 6.0
#: So long after it has said so a server may admit creates without the store: all others know it, or trust nothing.
NOTICE_SECONDS: Final = 7.0
#: For so long it may do so before it has to say it again.
OUTAGE_SECONDS: Final = 30.0
#: By how much the clocks of API servers may differ.
CLOCKS_SECONDS: Final = 5.0
#: A server that was not seen for so long is not there, or trusts nothing.
_GONE_SECONDS: Final = 60.0
#: A server is forgotten when it was not seen for this long.
_FORGET_SECONDS: Final = 600.0


class LedgerError(DataError):
    """The document cannot be decoded: it is damaged, or a newer release wrote it."""


class Outage(msgspec.Struct, frozen=True):
    """A time in which a server may have admitted creates without the store.

    Attributes:
        since: Its begin.
        until: The server admits nothing after this time, unless it has written a later one before.
    """

    since: float
    until: float


class Server(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server as the others know it.

    Attributes:
        seen: When it wrote the document last.
        agrees: The replication id of the store's server on which it has found all writes that it knows of.
        down: Whether the store does not answer it.
    """

    seen: float
    agrees: str = ""
    down: bool = False


class BucketPosition(msgspec.Struct, frozen=True, array_like=True):
    """How far the writes to a bucket have been seen.

    Attributes:
        dataset: Id of the bucket's data; a bucket that was rebuilt after a loss has another one.
        writes: The number of the last write.
    """

    dataset: str
    writes: int


class _Document(msgspec.Struct, frozen=True, omit_defaults=True):
    version: int = VERSION
    outages: dict[str, Outage] = {}
    servers: dict[str, Server] = {}
    positions: dict[str, BucketPosition] = {}


_decoder: Final = msgspec.json.Decoder(_Document)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The document, decoded. Every change returns a new one.

    Attributes:
        outages: By server.
        servers: By their ids.
        positions: By bucket: the furthest position that any server has seen.
    """

    outages: Mapping[str, Outage] = field(default_factory=dict)
    servers: Mapping[str, Server] = field(default_factory=dict)
    positions: Mapping[int, BucketPosition] = field(default_factory=dict)

    @classmethod
    def decode(cls, text: str) -> Ledger:
        """Decode a document.

        Raises:
            LedgerError: It cannot be decoded.
        """
        try:
            document = _decoder.decode(text)
            positions = {int(bucket): position for bucket, position in document.positions.items()}
        except (msgspec.DecodeError, ValueError):
            raise LedgerError("The state of deduplication at the API server cannot be decoded.") from None
        if document.version != VERSION:
            raise LedgerError(f"The state of deduplication has format {document.version}; upgrade every replica.")
        return cls(document.outages, document.servers, positions)

    def encode(self) -> str:
        """Return the document as JSON with sorted keys, so that equal documents are equal texts."""
        positions = {str(bucket): position for bucket, position in self.positions.items()}
        document = _Document(outages=dict(self.outages), servers=dict(self.servers), positions=positions)
        return msgspec.json.encode(document, order="sorted").decode()

    def with_server(self, server: str, entry: Server, positions: Mapping[int, BucketPosition] | None = None) -> Ledger:
        """Return the document after a server has reported what it has seen.

        Args:
            server: Its id.
            entry: Its entry.
            positions: The positions that it has seen; of one dataset the furthest is kept.
        """
        now = entry.seen
        kept = {name: known for name, known in self.servers.items() if now - known.seen < _FORGET_SECONDS}
        merged = dict(self.positions)
        for bucket, position in (positions or {}).items():
            known = merged.get(bucket)
            if known is None or known.dataset != position.dataset or known.writes < position.writes:
                merged[bucket] = position
        return replace(self, servers={**kept, server: entry}, positions=merged)

    def without_server(self, server: str) -> Ledger:
        """Return the document after a server has stopped: the others need not wait for it."""
        return replace(self, servers={name: known for name, known in self.servers.items() if name != server})

    def with_outage(self, server: str, now: float) -> Ledger:
        """Return the document with the outage of a server, begun or extended."""
        begun = self.outages.get(server)
        until = now + OUTAGE_SECONDS
        if begun and begun.until - now > OUTAGE_SECONDS / 2:
            return self
        outage = Outage(begun.since, max(until, begun.until)) if begun else Outage(now, until)
        return replace(self, outages={**self.outages, server: outage})

    def without_outage(self, server: str, settled: Outage) -> Ledger:
        """Return the document without an outage, unless it has been extended since it was settled."""
        if self.outages.get(server) != settled:
            return self
        return replace(self, outages={name: known for name, known in self.outages.items() if name != server})

    def ended_outages(self, now: float) -> dict[str, Outage]:
        """Return the outages after whose end no create is admitted any more."""
        return {server: outage for server, outage in self.outages.items() if outage.until < now}

    def others(self, server: str, now: float) -> tuple[Server, ...]:
        """Return the other servers that are there."""
        return tuple(
            entry for name, entry in self.servers.items() if name != server and now - entry.seen < _GONE_SECONDS
        )

    def others_are_down(self, server: str, now: float) -> bool:
        """Return whether no other server can reach the store."""
        return all(entry.down for entry in self.others(server, now))

    def all_agree(self, replication_id: str) -> bool:
        """Return whether every server has found all its writes on a server of the store.

        One that has died counts as well: it may have made writes that nobody else has seen.

        Args:
            replication_id: Of the store's server.
        """
        return bool(self.servers) and all(known.agrees == replication_id for known in self.servers.values())

    def covers(self, bucket: int, position: BucketPosition) -> bool:
        """Return whether a bucket has all writes that any server has reported."""
        known = self.positions.get(bucket)
        return known is not None and known.dataset == position.dataset and known.writes <= position.writes
