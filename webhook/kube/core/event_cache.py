"""Which Events to write: an Event that repeats is counted, and the number per object is limited.

This is what client-go does (`k8s.io/client-go/tools/record`): an Event that was written before is found by its contents
and its count is increased, and each object may cause only so many Events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: How many keys are remembered; a key that is forgotten starts again.
_REMEMBERED: Final = 4096


@dataclass(slots=True)
class _Bucket:
    """The tokens of one key.

    Attributes:
        left: Tokens at `since`.
        since: Seconds of a monotonic clock.
    """

    left: float
    since: float


@dataclass(slots=True)
class TokenBucket(Generic[K]):
    """Allow each key a burst, and after that one at a time.

    Attributes:
        burst: How many at once.
        seconds: After which one more is allowed.
    """

    burst: int = 25
    seconds: float = 300.0
    _buckets: OrderedDict[K, _Bucket] = field(default_factory=OrderedDict)

    def take(self, key: K, now: float) -> bool:
        """Return whether one more is allowed, and count it if so."""
        bucket = self._buckets.pop(key, None) or _Bucket(self.burst, now)
        left = min(self.burst, bucket.left + (now - bucket.since) / self.seconds)
        allowed = left >= 1
        self._buckets[key] = _Bucket(left - 1 if allowed else left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed


@dataclass(frozen=True, slots=True)
class WrittenEvent:
    """An Event that is stored.

    Attributes:
        name: Name of the Event.
        count: How many times it has happened.
    """

    name: str
    count: int


@dataclass(slots=True)
class EventCache(Generic[K]):
    """The Events written before, by their contents; the oldest are forgotten."""

    _written: OrderedDict[K, WrittenEvent] = field(default_factory=OrderedDict)

    def find(self, key: K) -> WrittenEvent | None:
        """Return the Event written before, if it is remembered."""
        return self._written.get(key)

    def remember(self, key: K, written: WrittenEvent | None) -> None:
        """Remember what is stored now; None if that is unknown."""
        self._written.pop(key, None)
        if written is not None:
            self._written[key] = written
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
