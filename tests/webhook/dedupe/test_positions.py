"""How far the writes have been seen, before and after a restart."""

from __future__ import annotations

import pytest

from webhook.dedupe.core.ledger import BucketPosition
from webhook.dedupe.core.reservation import Mark
from webhook.dedupe.positions import Positions

SYNCED = Mark.parse(b"Wa")
AFTER_RESTART = Mark.parse(b"Lb:1000")
AFTER_ANOTHER = Mark.parse(b"Lc:2000")


@pytest.fixture
def positions() -> Positions:
    """Ten writes to bucket 3 were seen."""
    made = Positions()
    made.note_synced(3, BucketPosition("data", 9))
    made.note_write(3, 10, SYNCED)
    return made


@pytest.mark.parametrize(("dataset", "writes", "whole"), [("data", 10, True), ("data", 9, False), ("other", 99, False)])
def test_a_bucket_must_come_back_with_what_was_seen(
    *, positions: Positions, dataset: str, writes: int, whole: bool
) -> None:
    """The same data, and no fewer writes."""
    assert positions.within(3, BucketPosition(dataset, writes), AFTER_RESTART) is whole
    assert positions.known[3] == BucketPosition("data", 10)


def test_a_write_after_the_restart_does_not_count_for_it(positions: Positions) -> None:
    """It says nothing about what that restart has lost, and nothing is proved of the next one."""
    positions.note_write(3, 11, AFTER_RESTART)
    assert positions.known[3].writes == 10
    assert positions.within(3, BucketPosition("data", 10), AFTER_RESTART)
    assert not positions.within(3, BucketPosition("data", 10), AFTER_ANOTHER)
    assert not positions.within(3, BucketPosition("data", 11), AFTER_ANOTHER)
    positions.note_synced(3, BucketPosition("data", 11))
    assert not positions.within(3, BucketPosition("data", 10), AFTER_ANOTHER)


def test_a_bucket_that_was_never_seen_lacks_nothing(positions: Positions) -> None:
    """This process has seen no write to it; others may have."""
    positions.note_write(4, 5, SYNCED)
    assert positions.within(4, BucketPosition("data", 0), AFTER_RESTART)
