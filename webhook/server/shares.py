"""Fair shares of something that is limited: places in flight, and bytes of memory.

One pod, one webhook or one namespace that takes all of it would be a denial for the others. Fixed shares would be small
and mostly unused. So each group may hold a multiple of what is still free: alone it gets most of it, and whatever it
takes, something is left for the next one. (The rule is that of switches with shared buffers: Choudhury and Hahne,
"Dynamic queue length thresholds for shared-memory packet switches", 1998.)
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

#: A webhook may hold this many times what its caller has left: three quarters if it is the only one.
_WEBHOOK_MULTIPLE: Final = 3


class Group(NamedTuple):
    """Who takes a share.

    Attributes:
        source: The address of the caller.
        webhook: The webhook that is called; empty if that does not matter.
        namespace: The namespace of the object; empty if it has none, or if it is not known yet.
    """

    source: str
    webhook: str = ""
    namespace: str = ""


class Shares:
    """What is held, by caller, by webhook and by namespace.

    Args:
        capacity: The most that one caller may hold. All callers together may hold twice as much, so that one that
            takes all it can get leaves as much for the others.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: Counter[Group] = Counter()
        self.total = 0
        """What all together hold."""

    def largest(self) -> int:
        """Return the most that a single request can ever get."""
        return self._capacity * _WEBHOOK_MULTIPLE // (_WEBHOOK_MULTIPLE + 1)

    def fits(self, group: Group, amount: int = 1) -> bool:
        """Return whether a group may take some more.

        A namespace counts within its caller: what a stranger says about namespaces is no matter of the API server's.
        """
        source, webhook, namespace = group
        of_source = self._held[Group(source)]
        left = self._capacity - of_source
        if amount > left or of_source + amount > 2 * self._capacity - self.total:
            return False
        if webhook and self._held[Group(source, webhook)] + amount > _WEBHOOK_MULTIPLE * left:
            return False
        return not namespace or self._held[group] + amount <= left

    def take(self, group: Group, amount: int = 1) -> None:
        """Add what a group holds."""
        self._change(group, amount)

    def give(self, group: Group, amount: int = 1) -> None:
        """Subtract what a group holds no longer."""
        self._change(group, -amount)

    def _change(self, group: Group, amount: int) -> None:
        self.total += amount
        # A set, because an incomplete group is one of its own prefixes.
        for one in {Group(group.source), Group(group.source, group.webhook), group}:
            self._held[one] += amount
            if not self._held[one]:
                # What callers say must not stay in memory.
                del self._held[one]
