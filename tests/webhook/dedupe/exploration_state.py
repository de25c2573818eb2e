"""The states of the exploration: values that can be hashed, and how they change when time passes.

The time of the world never moves: it is always `START`. When time passes, everything that was noted becomes older.
So two states that differ only in when they happened are one state.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from tests.webhook.dedupe.limits import Kept
from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.ledger import NOTICE_SECONDS, TRUSTED_SECONDS, Ledger, Outage, Server
from webhook.dedupe.core.record import State, decode, encode
from webhook.dedupe.core.submission import Submission
from webhook.dedupe.recollection import FRESH_SECONDS

#: Seconds since 1970.
START: Final = 1_700_000_000.0
#: What is longer ago than this, in seconds, has no consequences any more, except by the retention.
_AGO: Final = 100.0
#: For so long after a restart it is examined whether it has lost anything.
_EXAMINED: Final = 300.0
#: A mark that is so old, in ms since 1970 and by any clock of Redis, is compared with no other any more.
_NEVER: Final = int(START - 1_000) * 1000
#: How long after its create was allowed a run can be stored.
LEASE: Final = 90.0


class StoreData(NamedTuple):
    """What Redis holds of the delivery and of its bucket; times in ms by its own clock.

    Attributes:
        server: The number of its server; another one after a restart.
        ahead: By how many seconds its clock is ahead.
        record: The record; empty if there is none.
        mark: The mark of the bucket.
        head: The fields of its head, sorted.
        pending: The members of its pending set and when each is due, sorted.
        stream: The numbers of its reservations.
        datasets: How many ids its data has had.
    """

    server: int = 0
    ahead: float = 0.0
    record: bytes = b""
    mark: bytes = b""
    head: tuple[tuple[str, bytes], ...] = ()
    pending: tuple[tuple[bytes, int], ...] = ()
    stream: tuple[int, ...] = ()
    datasets: int = 0

    def older(self, seconds: float) -> StoreData:
        """Return the same some seconds later."""
        ms, now = int(seconds * 1000), int((START + self.ahead) * 1000)
        oldest = now - int(_EXAMINED * 1000)
        head = tuple((name, _older_mark(value, ms, oldest) if name == "r" else value) for name, value in self.head)
        return self._replace(
            record=_older_record(self.record, seconds, now),
            mark=_older_mark(self.mark, ms, oldest),
            head=head,
            pending=tuple((member, max(at - ms, now)) for member, at in self.pending),
        )

    def lagging(self) -> StoreData:
        """Return the data of a replica that lacks all writes."""
        head = tuple((name, {"n": b"0", "s": b"0"}.get(name, value)) for name, value in self.head if name != "r")
        return StoreData(self.server, self.ahead, mark=b"W" + self.mark[1:41], head=head, datasets=self.datasets)


class StateView(NamedTuple):
    """The ConfigMap that holds the ledger.

    Attributes:
        text: The ledger; empty if it holds none.
        created_at: When it was created.
        current: For a server: whether the ConfigMap has not changed since it was read.
    """

    text: str
    created_at: float
    current: bool = True

    def older(self, seconds: float) -> StateView:
        """Return the same some seconds later."""
        return self._replace(text=_older_ledger(self.text, seconds), created_at=_older(self.created_at, seconds))


class Cluster(NamedTuple):
    """What the API server holds.

    Attributes:
        runs: The stored runs: the number of each create, and its name. All count, so their age does not matter.
        state: The ConfigMap.
    """

    runs: tuple[tuple[int, str], ...]
    state: StateView

    def older(self, seconds: float) -> Cluster:
        """Return the same some seconds later."""
        return self._replace(state=self.state.older(seconds))


class ServerState(NamedTuple):
    """What a server has in memory; each field is one of an object of the server, and bears its name.

    Attributes:
        name: The server's id.
        outage_since, unsynced_since, followed_at, read_at, registered_at, heartbeat_at, admits_until: Times.
        told_since, told_at, down, others_went_on: What it has read of the outages of the others and of its own.
        admitted: The name of the create that it has admitted without a record, and when.
        remembered: Whether it remembers the delivery.
        position: How far it has seen the writes.
        written_under: The mark under which it has written last since a restart that is not settled.
        own_seen: The time in its own entry, as it was read last.
        continuity: What it knows of the ConfigMap, beside these times.
    """

    name: str
    outage_since: float | None = None
    unsynced_since: float | None = None
    followed_at: float = 0.0
    read_at: float | None = None
    registered_at: float | None = None
    heartbeat_at: float | None = None
    admits_until: float = 0.0
    told_since: float = 0.0
    told_at: float | None = None
    down: tuple[tuple[str, bool], ...] = ()
    others_went_on: bool = False
    admitted: tuple[str, float] | None = None
    remembered: bool = False
    complete: bool = False
    whole: bool = False
    synced: bool = False
    incomplete: bool = False
    last: int | None = None
    seen: StateView | None = None
    continuity: tuple[tuple[str, object], ...] = ()
    agrees: str = ""
    position: tuple[str, int] | None = None
    written_under: bytes | None = None
    own_seen: float = 0.0

    def older(self, seconds: float) -> ServerState:
        """Return the same some seconds later; ages that have the same consequences become equal."""
        outage = None if self.outage_since is None else _older(self.outage_since, seconds)
        followed = self.followed_at - seconds
        known = followed if self.outage_since is None else self.followed_at
        fresh = (START if self.outage_since is None else self.outage_since) - known <= FRESH_SECONDS
        return self._replace(
            outage_since=outage,
            unsynced_since=None if self.unsynced_since is None else _older(self.unsynced_since, seconds),
            followed_at=(outage or START) - (0.0 if fresh else 2 * FRESH_SECONDS),
            read_at=_class(self.read_at, seconds, TRUSTED_SECONDS),
            registered_at=_class(self.registered_at, seconds, NOTICE_SECONDS),
            heartbeat_at=_class(self.heartbeat_at, seconds, 8.0),
            admits_until=self.admits_until and _older(self.admits_until, seconds),
            told_since=self.told_since and _older(self.told_since, seconds),
            told_at=_class(self.told_at, seconds, NOTICE_SECONDS),
            admitted=self._admitted_before(seconds),
            seen=self.seen and self.seen.older(seconds),
            written_under=self.written_under and _older_mark(self.written_under, int(seconds * 1000), _NEVER),
            own_seen=self.own_seen and _older(self.own_seen, seconds),
        )

    def _admitted_before(self, seconds: float) -> tuple[str, float] | None:
        if self.admitted is None or START - self.admitted[1] + seconds >= LEASE:
            return None
        return self.admitted[0], self.admitted[1] - seconds


class Call(NamedTuple):
    """A create under review; no time passes while it is.

    Attributes:
        name: The name of its run.
        server: The number of the server that reviews it.
        submission: What is known about it.
    """

    name: str
    server: int
    submission: Submission


class Allowed(NamedTuple):
    """A create that was allowed and is not stored."""

    name: str
    verdict: Verdict
    allowed_at: float
    unproved: bool


class End(Enum):
    """A create that has come to nothing, or has not begun."""

    WAITING = "waiting"
    OVER = "over"


#: The state of one create.
CreateState: TypeAlias = End | Call | Allowed | Kept


class Surroundings(NamedTuple):
    """What a server reaches.

    Attributes:
        store: Redis.
        cluster: The API server.
        reachable: Whether Redis answers this server.
    """

    store: StoreData
    cluster: Cluster
    reachable: bool


class Outcome(NamedTuple):
    """The result of a step.

    Attributes:
        server: The server after it.
        store: Redis after it.
        cluster: The API server after it.
        wrote: Whether the ledger was written.
        creates: For a step of a create: what can become of it, each with the name of the run that its answer names.
    """

    server: ServerState
    store: StoreData
    cluster: Cluster
    wrote: bool
    creates: tuple[tuple[CreateState, str], ...] = ()


def older_create(create: CreateState | None, seconds: float) -> CreateState | None:
    """Return the state of a create some seconds later: no call takes so long, and no request is kept for ever."""
    match create:
        case Call():
            return End.OVER
        case Allowed():
            later = create._replace(allowed_at=create.allowed_at - seconds)
            return later if later.allowed_at > START - LEASE else End.OVER
        case Kept() if create.at:
            deleted_at = None if create.deleted_at is None else create.deleted_at - seconds
            allowed_at = create.allowed_at - seconds
            return replace(
                create, created_at=allowed_at, allowed_at=allowed_at, at=create.at - seconds, deleted_at=deleted_at
            )
    return create


def _older(at: float, seconds: float) -> float:
    """Return a time some seconds later; what is longer ago than a lease is equally long ago."""
    return max(at - seconds, START - _AGO)


def _class(at: float | None, seconds: float, limit: float) -> float | None:
    """Return a time some seconds later, if it matters only whether it is `limit` seconds ago."""
    return None if at is None else START if at - seconds > START - limit else START - 2 * limit


def _older_mark(mark: bytes, ms: int, oldest: int) -> bytes:
    head, _, at = mark.rpartition(b":")
    return b"%s:%d" % (head, max(int(at) - ms, oldest)) if mark.startswith(b"L") else mark


def _older_record(raw: bytes, seconds: float, now: int) -> bytes:
    record = decode(raw) if raw else None
    if record is None or record.state is not State.RESERVED:
        return raw
    created_at = max(record.created_at - int(seconds), int(START - _AGO))
    reserved_at = max(record.reserved_at - int(seconds * 1000), now - int(_AGO * 1000))
    return encode(replace(record, created_at=created_at, reserved_at=reserved_at), raw[0])


@lru_cache(maxsize=100_000)
def _older_ledger(text: str, seconds: float) -> str:
    if not text:
        return text
    ledger = Ledger.decode(text)
    outages = {
        name: Outage(_older(each.since, seconds), _older(each.until, seconds)) for name, each in ledger.outages.items()
    }
    servers = {
        name: Server(_older(each.seen, seconds), each.agrees, each.down) for name, each in ledger.servers.items()
    }
    return Ledger(outages, servers, ledger.positions).encode()
