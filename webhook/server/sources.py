"""The open connections by the address they come from: how many there may be, and which one is closed for another.

A limit of all connections alone would be a denial by itself: a caller that opens that many keeps everybody else out.
So the source with the most connections loses one for each that a source with fewer of them opens.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from ipaddress import IPv6Address, ip_address

_IPV6_PREFIX = 64


def source_of(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _IPV6_PREFIX << _IPV6_PREFIX)}/{_IPV6_PREFIX}"


class Refusal(Enum):
    """Why a connection was closed by the server before its time."""

    EVICTED = "evicted"
    REFUSED = "refused"
    HANDSHAKE = "handshake"
    HEADER = "header"
    PIPELINED = "pipelined"


def _nothing() -> None:
    """Close nothing: the connection is closed, or not open yet."""


class Slot:
    """The place of one connection.

    Attributes:
        source: Where it comes from.
        abort: Closes it at once.
        busy: Whether a request of it is being answered.
    """

    __slots__ = ("abort", "busy", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.abort: Callable[[], object] = _nothing
        self.busy = False


class Sources:
    """The open connections of one port.

    Args:
        total: The most connections.
        of_one: The most connections of one source.
        closed: Called with the reason for each connection that is refused or closed for another one.
    """

    def __init__(self, *, total: int, of_one: int, closed: Callable[[Refusal], None]) -> None:
        self._total = total
        self._of_one = of_one
        self.closed = closed
        #: Oldest first; a connection that was busy starts again at the end.
        self._idle: dict[str, dict[Slot, None]] = {}
        self._busy: dict[str, dict[Slot, None]] = {}
        self._count: dict[str, int] = {}
        self.open = 0
        """How many connections are open."""

    def admit(self, host: str) -> Slot | None:
        """Return a place for a new connection, if necessary that of another; None if it must be refused."""
        source = source_of(host)
        mine = self._count.get(source, 0)
        if mine >= self._of_one:
            if not self._evict(source, busy=False):
                self.closed(Refusal.REFUSED)
                return None
        elif self.open >= self._total:
            largest = max(self._count, key=self._count.__getitem__)
            others = largest != source and self._count[largest] > mine + 1
            if not self._evict(largest if others else source, busy=others):
                self.closed(Refusal.REFUSED)
                return None
        slot = Slot(source)
        self._idle.setdefault(source, {})[slot] = None
        self._count[source] = self._count.get(source, 0) + 1
        self.open += 1
        return slot

    def make_room(self) -> bool:
        """Close one connection of the source that has the most; returns whether there was one."""
        return bool(self._count) and self._evict(max(self._count, key=self._count.__getitem__), busy=True)

    def begin(self, slot: Slot) -> None:
        """Note that a request of the connection is being answered."""
        self._move(slot, self._idle, self._busy, busy=True)

    def end(self, slot: Slot) -> None:
        """Note that the connection waits for its next request."""
        self._move(slot, self._busy, self._idle, busy=False)

    def remove(self, slot: Slot) -> None:
        """Give the place back; does nothing if that was done before."""
        where = self._busy if slot.busy else self._idle
        group = where.get(slot.source)
        if group is None or slot not in group:
            return
        del group[slot]
        # The connection would be garbage in a cycle, and keep its buffers until that is collected.
        slot.abort = _nothing
        if not group:
            del where[slot.source]
        self.open -= 1
        self._count[slot.source] -= 1
        if not self._count[slot.source]:
            del self._count[slot.source]

    def close(self, slot: Slot, why: Refusal) -> None:
        """Close a connection at once."""
        abort = slot.abort
        self.remove(slot)
        abort()
        self.closed(why)

    def _evict(self, source: str, *, busy: bool) -> bool:
        for where in (self._idle, self._busy) if busy else (self._idle,):
            if source in where:
                slot = next(iter(where[source]))
                self.close(slot, Refusal.EVICTED)
                return True
        return False

    @staticmethod
    def _move(
        slot: Slot, before: dict[str, dict[Slot, None]], after: dict[str, dict[Slot, None]], *, busy: bool
    ) -> None:
        group = before.get(slot.source)
        if slot.busy == busy or group is None or slot not in group:
            return
        del group[slot]
        if not group:
            del before[slot.source]
        slot.busy = busy
        after.setdefault(slot.source, {})[slot] = None
