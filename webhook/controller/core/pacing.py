"""How long to wait after failures, and how much to ask for at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: About so large is a page of a list, whatever the objects weigh.
PAGE_BYTES: Final = 2**20
#: Of metadata an API server takes 256 KiB of annotations an object, so the first page can be 2 MiB.
FIRST_PAGE_ITEMS: Final = 8
MOST_PAGE_ITEMS: Final = 500


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double with each failure in a row; seconds.

    Attributes:
        first: After the first failure, at most.
        limit: After many, at most.
    """

    first: float = 0.2
    limit: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what would not be a wait."""
        if not 0 < self.first <= self.limit:
            raise ValueError("the first wait has to be longer than nothing and no longer than the limit")

    def delay(self, failures: int, chance: float) -> float:
        """Return how long to wait.

        Args:
            failures: In a row before this one.
            chance: From 0 to 1; the wait is between half of the longest and all of it.
        """
        # Bounded before it is computed: failures can go on for as long as the process lives.
        longest = min(self.limit, self.first * 2.0 ** min(failures, 64))
        return longest * (0.5 + 0.5 * chance)


def next_page_items(limit: int, *, items: int, size: int) -> int:
    """Return how many objects the next page of a list should have, for its size in bytes to be about `PAGE_BYTES`.

    An applied object repeats itself in its annotations, so the metadata of 500 Secrets can be a hundred megabytes.

    Args:
        limit: Asked for with the page before; it is doubled at most, since the next objects may be larger.
        items: Objects in that page.
        size: Bytes of that page.
    """
    fitting = items * PAGE_BYTES // max(size, 1) if items else limit
    return max(1, min(fitting, 2 * limit, MOST_PAGE_ITEMS))
