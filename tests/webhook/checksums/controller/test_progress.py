"""Rollouts that make no progress, as the controller finds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from webhook.checksums.controller.progress import ProgressTracker
from webhook.checksums.core.keys import PROGRESS
from webhook.checksums.core.kinds import DAEMON_SET, WorkloadId
from webhook.checksums.core.marks import Progress, StallRecord, rollout_id
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.rollout import Rollout
from webhook.runtime.clock import Clock

ROLLING, FAILED = Rollout.ROLLING, Rollout.FAILED
AGENT = WorkloadId("prod", DAEMON_SET, "agent")
DEADLINE = 600.0
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Leader:
    """A controller, whose clock a test moves.

    Attributes:
        now: The monotonic time.
        stepped: How far the time of day is away from it.
    """

    now: float = 0.0
    stepped: float = 0.0
    tracker: ProgressTracker = field(init=False)

    def __post_init__(self) -> None:
        clock = Clock(monotonic=lambda: self.now, time=lambda: START.timestamp() + self.now + self.stepped)
        self.tracker = ProgressTracker(lambda: DEADLINE, clock)

    def see(self, workload: StoredWorkload) -> Rollout:
        """Judge a workload."""
        return self.tracker.judge(AGENT, workload)

    @property
    def record(self) -> str:
        """The record to be written now."""
        return self.tracker.record(AGENT)

    @property
    def due(self) -> float | None:
        """When to look again."""
        return self.tracker.next_due("prod")


def agent(updated: int, available: int, *, generation: int = 1, record: str = "", **status: Any) -> StoredWorkload:
    """Return a DaemonSet with ten nodes."""
    counts = {"desiredNumberScheduled": 10, "currentNumberScheduled": 10, "observedGeneration": generation}
    counts |= {"updatedNumberScheduled": updated, "numberAvailable": available, **status}
    metadata = {"name": "agent", "generation": generation, "annotations": {PROGRESS: record} if record else {}}
    return msgspec.convert({"metadata": metadata, "status": counts}, DAEMON_SET.stored_type)


def test_a_rollout_without_progress_fails_at_the_deadline() -> None:
    """Pods that become available and crash again are no progress."""
    leader = Leader()
    assert leader.see(agent(1, 9)) is ROLLING
    leader.now = 300
    assert leader.see(agent(1, 10)) is ROLLING
    for leader.now in range(310, 900, 10):
        assert leader.see(agent(1, 9 + leader.now // 10 % 2)) is ROLLING
    leader.now = 900
    assert leader.see(agent(1, 9)) is FAILED
    assert leader.see(agent(2, 9)) is ROLLING
    assert leader.see(agent(10, 10)) is Rollout.DONE


def test_another_rollout_has_the_whole_deadline() -> None:
    """It may be the repair."""
    leader = Leader()
    leader.see(agent(1, 9))
    leader.now = 600
    assert leader.see(agent(1, 9)) is FAILED
    assert leader.see(agent(0, 9, generation=2)) is ROLLING


def test_a_stall_is_recorded_once_it_lasts() -> None:
    """A rollout that goes on is never written to."""
    leader = Leader()
    assert (leader.record, leader.due) == ("", None)
    leader.see(agent(1, 9))
    assert (leader.record, leader.due) == ("", 150)
    leader.now = 150
    leader.see(agent(1, 9))
    record = leader.record
    assert StallRecord.parse(record) == StallRecord(Progress.of(agent(1, 9)), START)
    # Also if it cannot be written.
    assert (leader.record, leader.due) == (record, 450)
    leader.see(agent(1, 9, record=record))
    assert (leader.record, leader.due) == ("", 450)
    assert leader.tracker.next_due("another") is None
    leader.now = 600
    leader.see(agent(1, 9, record=record))
    assert (leader.record, leader.due) == ("", None)
    leader.see(agent(2, 9, record=record))
    assert (leader.record, leader.due) == ("", 150)
    leader.tracker.forget(AGENT)
    assert (leader.record, leader.due) == ("", None)


def test_the_next_leader_goes_on_from_the_record() -> None:
    """It finds the failure at the same time, and steps of its clock afterwards make no difference."""
    record = str(StallRecord(Progress.of(agent(1, 9)), START - timedelta(seconds=400)))
    leader = Leader()
    assert leader.see(agent(1, 9, record=record)) is ROLLING
    leader.stepped = 3600
    leader.now = 199
    assert leader.see(agent(1, 9, record=record)) is ROLLING
    leader.now = 200
    assert leader.see(agent(1, 9, record=record)) is FAILED
    late = Leader(now=10_000)
    assert late.see(agent(1, 9, record=record)) is FAILED


def test_a_record_that_is_out_of_date_has_no_effect() -> None:
    """The rollout has come further, or is another one; one from the future counts from now on."""
    for record in (
        StallRecord(Progress("1", 0), START - timedelta(days=1)),
        StallRecord(Progress("0", 99), START - timedelta(days=1)),
        StallRecord(Progress("1", 99), START + timedelta(days=1)),
    ):
        leader = Leader()
        assert leader.see(agent(1, 9, record=str(record))) is ROLLING
        leader.now = 599
        assert leader.see(agent(1, 9, record=str(record))) is ROLLING
        leader.now = 600
        assert leader.see(agent(1, 9, record=str(record))) is FAILED


def test_a_record_is_about_the_rollout() -> None:
    """It names the one that the status is about."""
    assert rollout_id(agent(1, 9, generation=4)) == "4"
