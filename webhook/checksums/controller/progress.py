"""Find rollouts that make no progress, of workloads whose own controllers never report that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from webhook.checksums.core.keys import PROGRESS
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.marks import Progress, StallRecord, deadline_seconds, needs_deadline
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.rollout import Rollout
from webhook.runtime.clock import Clock

#: The share of the deadline after which it is recorded on the workload that its rollout makes no progress.
RECORDED_AFTER: Final = 0.25


@dataclass(slots=True)
class _Best:
    """The highest progress of a rollout.

    Attributes:
        progress: The progress.
        since: When it was reached, by the monotonic clock.
        deadline: Seconds that the rollout may make no progress.
        recorded: Whether the workload has a record of it.
    """

    progress: Progress
    since: float
    deadline: float
    recorded: bool = False

    @property
    def record_due(self) -> float:
        """When it has to be recorded."""
        return self.since + self.deadline * RECORDED_AFTER


class ProgressTracker:
    """Remember since when each rollout makes no progress.

    A new controller begins at zero, unless the workload has a record. So a rollout that cannot succeed is found by
    the deadline after a change of the leader, if that comes before the record, and else as if there had been no change.

    Args:
        deadline: Returns the seconds that a rollout may make no progress.
        clock: Monotonic time, and the time of day for records.
    """

    def __init__(self, deadline: Callable[[], float], clock: Clock) -> None:
        self._deadline = deadline
        self._clock = clock
        self._best: dict[WorkloadId, _Best] = {}

    def judge(self, workload_id: WorkloadId, stored: StoredWorkload) -> Rollout:
        """Return the progress of a rollout, with regard to the deadline."""
        reported = workload_id.kind.rollout(stored)
        if reported is not Rollout.ROLLING or not needs_deadline(stored):
            self._best.pop(workload_id, None)
            return reported
        best = self._best[workload_id] = self._best_of(workload_id, stored)
        return Rollout.FAILED if self._clock.monotonic() >= best.since + best.deadline else reported

    def record(self, workload_id: WorkloadId) -> str:
        """Return what has to be written to the annotation `progress` now; empty if nothing has to be.

        It is due when a rollout has made no progress for some time, so one that goes on is never written to.
        """
        best, now = self._best.get(workload_id), self._clock.monotonic()
        if best is None or best.recorded or now < best.record_due:
            return ""
        since = datetime.fromtimestamp(self._clock.time() - (now - best.since), UTC)
        return str(StallRecord(best.progress, since))

    def next_due(self, namespace: str) -> float | None:
        """Return after how many seconds a rollout of a namespace fails or has to be recorded; None for never."""
        now = self._clock.monotonic()
        found = [best for workload_id, best in self._best.items() if workload_id.namespace == namespace]
        # A record that could not be written must not keep the failure from being found.
        due = [best.since + best.deadline for best in found] + [best.record_due for best in found if not best.recorded]
        return min((moment - now for moment in due if moment > now), default=None)

    def forget(self, workload_id: WorkloadId) -> None:
        """Forget a workload that does not exist any more."""
        self._best.pop(workload_id, None)

    def _best_of(self, workload_id: WorkloadId, stored: StoredWorkload) -> _Best:
        now, progress = self._clock.monotonic(), Progress.of(stored)
        deadline = deadline_seconds(stored, self._deadline())
        record = StallRecord.parse((stored.metadata.annotations or {}).get(PROGRESS))
        best = self._best.get(workload_id)
        if best is not None and not progress.is_beyond(best.progress):
            return _Best(best.progress, best.since, deadline, record is not None and record.progress == best.progress)
        if best is None and record is not None and record.is_about(progress):
            # Only the difference is taken over: from here on, a step of the time of day makes no difference.
            since = now - max(0.0, self._clock.time() - record.since.timestamp())
            return _Best(record.progress, since, deadline, recorded=True)
        return _Best(progress, now, deadline)
