"""Which Events to write: the same one again is counted, and nobody floods the cluster with them.

As client-go does (`k8s.io/client-go/tools/record`): an Event that was written before is found again by what it says and
gets a higher count, and each object may cause only so many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: How many are remembered; who is forgotten begins anew.
_REMEMBERED: Final = 4096


@dataclass(slots=True)
class Bucket:
    """How many writes somebody has left; they come back with time.

    Attributes:
        left: At `since`, in writes.
        since: Seconds of a monotonic clock.
    """

    left: float
    since: float


@dataclass(slots=True)
class Allowance(Generic[K]):
    """Lets each key have a burst of writes, and after that one in a while.

    Attributes:
        burst: So many at once.
        seconds: After which one more is allowed.
    """

    burst: int = 25
    seconds: float = 300.0
    _buckets: OrderedDict[K, Bucket] = field(default_factory=OrderedDict)

    def take(self, key: K, now: float) -> bool:
        """Tell whether one more write is allowed, and if so, count it."""
        bucket = self._buckets.pop(key, None) or Bucket(self.burst, now)
        left = min(self.burst, bucket.left + (now - bucket.since) / self.seconds)
        allowed = left >= 1
        self._buckets[key] = Bucket(left - 1 if allowed else left, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return allowed


@dataclass(frozen=True, slots=True)
class Written:
    """An Event that is stored.

    Attributes:
        name: Of the Event.
        count: How many times it has happened.
    """

    name: str
    count: int


@dataclass(slots=True)
class Recurrences(Generic[K]):
    """The Events written before, by what they say; those written longest ago are forgotten."""

    _written: OrderedDict[K, Written] = field(default_factory=OrderedDict)

    def find(self, key: K) -> Written | None:
        """Return what was written before, if that is remembered."""
        return self._written.get(key)

    def remember(self, key: K, written: Written | None) -> None:
        """Note what is stored now; None if that is not known."""
        self._written.pop(key, None)
        if written is not None:
            self._written[key] = written
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)
