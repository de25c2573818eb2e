"""The rules of a work queue: when which key is processed. Without tasks, and without a clock of its own.

They are the rules of client-go (`k8s.io/client-go/util/workqueue`), and one more:

- A key is processed by one worker at a time. A key that is added meanwhile is processed once more afterwards, however
  often it was added: work reads the present state, not what happened.
- After a failure a key comes back with growing delays, until its failures are forgotten.
- A change settles first, because others often follow; but not beyond a ceiling, because others can follow for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from webhook.runtime.backoff import Backoff

K = TypeVar("K", bound=Hashable)

_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Settling:
    """How long a change waits for further changes, in seconds.

    Attributes:
        settle: Delay after the last change.
        ceiling: Longest delay after the first change.

    Raises:
        ValueError: `settle` is negative or above `ceiling`.
    """

    settle: float = 0.0
    ceiling: float = 0.0

    def __post_init__(self) -> None:
        """Reject negative delays."""
        if not 0 <= self.settle <= self.ceiling:
            raise ValueError("settle must not be below 0, nor above the ceiling")


@dataclass(slots=True)
class _Entry:
    """The state of one key; times are infinite where there is nothing to wait for.

    Attributes:
        first_change: Time of the oldest change that was not processed yet.
        last_change: Time of the newest.
        alarm: When the key is processed in any case.
        retry: When it is tried again after a failure.
        failures: Failures in a row.
        working: Whether a worker has the key.
        queued: The time of the key's valid entry in the heap. It may be too early, never too late.
    """

    first_change: float = _NEVER
    last_change: float = _NEVER
    alarm: float = _NEVER
    retry: float = _NEVER
    failures: int = 0
    working: bool = False
    queued: float = _NEVER

    def due(self, settling: Settling) -> float:
        settled = min(self.last_change + settling.settle, self.first_change + settling.ceiling)
        return min(settled, self.alarm, self.retry)


@dataclass(slots=True)
class Schedule(Generic[K]):
    """The keys of one queue. All times are seconds of one monotonic clock, which is passed in.

    Attributes:
        settling: How long changes wait for further changes.
        backoff: Delays after failures.
    """

    settling: Settling = field(default_factory=Settling)
    backoff: Backoff = field(default_factory=Backoff)
    _entries: dict[K, _Entry] = field(default_factory=dict)
    _heap: list[tuple[float, int, K]] = field(default_factory=list)
    _turn: int = 0
    _working: int = 0

    def __len__(self) -> int:
        """Return how many keys wait, are being processed, or are remembered for their failures."""
        return len(self._entries)

    @property
    def working(self) -> int:
        """How many keys workers have."""
        return self._working

    def add(self, key: K, now: float) -> None:
        """Record a change of a key."""
        entry = self._entries.setdefault(key, _Entry())
        entry.first_change = min(entry.first_change, now)
        entry.last_change = now
        self._place(key, entry)

    def add_at(self, key: K, moment: float) -> None:
        """Have a key processed at some time; of several such times the earliest counts."""
        entry = self._entries.setdefault(key, _Entry())
        entry.alarm = min(entry.alarm, moment)
        self._place(key, entry)

    def retry(self, key: K, now: float, jitter: float) -> float:
        """Have a key tried again after a failure; a change brings it back sooner.

        Returns:
            The seconds until then.
        """
        entry = self._entries.setdefault(key, _Entry())
        delay = self.backoff.delay(entry.failures, jitter)
        entry.failures += 1
        entry.retry = now + delay
        self._place(key, entry)
        return delay

    def forget(self, key: K) -> None:
        """Forget the failures of a key: its work succeeded, and it is not tried again."""
        if entry := self._entries.get(key):
            entry.failures, entry.retry = 0, _NEVER
            self._drop_if_idle(key, entry)

    def take(self, now: float) -> K | None:
        """Return the key that has been due for longest, or None; to be followed by `done`."""
        key = self._first()
        if key is None or (entry := self._entries[key]).due(self.settling) > now:
            return None
        heapq.heappop(self._heap)
        entry.queued = _NEVER
        entry.first_change = entry.last_change = entry.retry = _NEVER
        if entry.alarm <= now:
            entry.alarm = _NEVER
        entry.working = True
        self._working += 1
        return key

    def done(self, key: K) -> None:
        """Take back a key from its worker.

        Raises:
            KeyError: No worker has it.
        """
        entry = self._entries.get(key)
        if entry is None or not entry.working:
            raise KeyError(key)
        entry.working = False
        self._working -= 1
        self._place(key, entry)
        self._drop_if_idle(key, entry)

    def next_due(self) -> float | None:
        """Return the time from which `take` returns a key, if nothing else happens; None for never."""
        key = self._first()
        return None if key is None else self._entries[key].due(self.settling)

    def _place(self, key: K, entry: _Entry) -> None:
        """Give a key an entry in the heap that is not too late."""
        due = entry.due(self.settling)
        if not entry.working and due < entry.queued:
            entry.queued = due
            self._turn += 1
            heapq.heappush(self._heap, (due, self._turn, key))

    def _first(self) -> K | None:
        """Correct the head of the heap until it is valid and not too early; return its key."""
        while self._heap:
            queued, _, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is None or entry.queued != queued or entry.working:
                heapq.heappop(self._heap)
                continue
            due = entry.due(self.settling)
            if due <= queued:
                return key
            # It was delayed: a key is moved at most once each time it comes to the head.
            heapq.heappop(self._heap)
            entry.queued = _NEVER
            self._place(key, entry)
            self._drop_if_idle(key, entry)
        return None

    def _drop_if_idle(self, key: K, entry: _Entry) -> None:
        if not entry.working and not entry.failures and entry.due(self.settling) == _NEVER:
            del self._entries[key]
