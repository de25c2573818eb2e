"""What is remembered about a rollout in annotations of the workload, so that each controller decides the same.

- `progress`: how far a rollout has come that makes no progress, and since when. Kinds without a progress deadline of
  their own never report a failure; they are judged by this.
- `rolled`: the contents that the controller wrote last, and what the workload was like before. A workload that was
  broken already is not blamed on the contents.

Both name what they are about, so one that is out of date has no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from webhook.checksums.core.keys import REVISION
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.rollout import Rollout

#: The value of `progressDeadlineSeconds` by which a Deployment has no deadline.
NO_DEADLINE: Final = 2**31 - 1
#: The reason of a Deployment's condition `Progressing` after it has rolled out once.
_ROLLED_OUT: Final = "NewReplicaSetAvailable"
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_DIGEST_LENGTH: Final = 16
_BROKEN: Final = "broken"
_LONGEST_NUMBER: Final = 19


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout has come.

    Attributes:
        rollout: Identifies the rollout among those of its workload.
        score: Grows with each pod that is replaced, and with each that becomes available. It can fall again, if
            containers crash again and again, so only the highest score counts.
    """

    rollout: str
    score: int

    @classmethod
    def of(cls, stored: StoredWorkload) -> Self:
        """Return the progress that the status of a workload shows."""
        status = stored.status
        updated = status.updated_replicas + status.updated_number_scheduled
        available = status.available_replicas + status.number_available
        return cls(rollout_id(stored), 2 * updated + available - status.replicas - status.current_number_scheduled)

    def is_beyond(self, other: Progress) -> bool:
        """Return whether it is progress over another one, or that of another rollout."""
        return self.rollout != other.rollout or self.score > other.score


def rollout_id(stored: StoredWorkload) -> str:
    """Return what identifies the present rollout of a workload.

    `metadata.generation` alone would not do: for a Deployment it also counts changes of annotations, and for a
    StatefulSet changes of `replicas`.
    """
    revision = (stored.metadata.annotations or {}).get(REVISION) or stored.status.update_revision
    return revision or str(stored.metadata.generation)


def rollout_number(stored: StoredWorkload) -> int:
    """Return a number that the next rollout of a workload makes greater by one."""
    revision = _number((stored.metadata.annotations or {}).get(REVISION, ""))
    return stored.metadata.generation if revision is None else revision


@dataclass(frozen=True, slots=True)
class StallRecord:
    """Since when a rollout makes no progress; the value of the annotation `progress`.

    Attributes:
        progress: The highest progress.
        since: When it was reached.
    """

    progress: Progress
    since: datetime

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the record in an annotation; None if there is none."""
        match (text or "").split(" "):
            case [rollout, score, since]:
                try:
                    return cls(Progress(rollout, int(score)), datetime.strptime(since, _TIME).replace(tzinfo=UTC))
                except ValueError:
                    return None
            case _:
                return None

    def __str__(self) -> str:
        return f"{self.progress.rollout} {self.progress.score} {self.since.astimezone(UTC).strftime(_TIME)}"

    def is_about(self, progress: Progress) -> bool:
        """Return whether the rollout is the same and has not come further."""
        return not progress.is_beyond(self.progress)


def needs_deadline(stored: StoredWorkload) -> bool:
    """Return whether no controller would ever report that the rollout of a workload makes no progress.

    So it is without a deadline of its own, and where a Deployment has rolled out and became unavailable afterwards.
    """
    own = stored.spec.progress_deadline_seconds
    rolled_out = any(condition.reason == _ROLLED_OUT for condition in stored.status.conditions or ())
    return own is None or own >= NO_DEADLINE or rolled_out


def deadline_seconds(stored: StoredWorkload, deadline: float) -> float:
    """Return how long a rollout may make no progress: the setting, and how long a pod must be ready to be available."""
    return deadline + (stored.spec.min_ready_seconds or 0)


def judge(stored: StoredWorkload, reported: Rollout, record: str | None, *, now: datetime, deadline: float) -> Rollout:
    """Return the progress of a rollout with regard to our deadline.

    Args:
        stored: The workload.
        reported: What its status says.
        record: The annotation `progress`.
        now: The present time.
        deadline: Seconds that a rollout may make no progress.
    """
    stall = StallRecord.parse(record)
    if reported is not Rollout.ROLLING or stall is None or not needs_deadline(stored):
        return reported
    overdue = (now - stall.since).total_seconds() >= deadline_seconds(stored, deadline)
    return Rollout.FAILED if overdue and stall.is_about(Progress.of(stored)) else reported


def contents_digest(checksums: Mapping[str, str]) -> str:
    """Return what identifies the checksums of a pod template together."""
    text = "\n".join(f"{key}={value}" for key, value in sorted(checksums.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


@dataclass(frozen=True, slots=True)
class RolloutMark:
    """What the controller wrote last; the value of the annotation `rolled`.

    Attributes:
        contents: Identifies the checksums.
        before: The number of the rollout that they replaced.
        broken: Whether that rollout had failed already, and not because of earlier contents.
    """

    contents: str
    before: int
    broken: bool

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the mark in an annotation; None if there is none."""
        match (text or "").split(" "):
            case [contents, number, *rest] if (before := _number(number)) is not None and rest in ([], [_BROKEN]):
                return cls(contents, before, broken=bool(rest))
            case _:
                return None

    def __str__(self) -> str:
        return f"{self.contents} {self.before}" + (f" {_BROKEN}" if self.broken else "")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER else None
