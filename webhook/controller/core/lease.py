"""Who may lead: the rules of a Lease, as functions of what was read of it and of a monotonic clock.

The rules are client-go's (`k8s.io/client-go/tools/leaderelection`), and the point of them is this:

- Clocks of two machines are never compared. The times in a Lease are for people. A candidate measures by its own clock
  for how long it has seen the record unchanged, and a leader for how long it has been since it *sent* the last renewal
  that was acknowledged.
- A candidate sees a renewal after the leader sent it, and waits for the lease duration, which is longer than the renew
  deadline. So the leader has stopped before anybody else begins, unless it stands still; then it stops when it goes on.
- Every write carries the resourceVersion of what it decided on: of two candidates, one is refused.

https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

#: No leader of ours renews as rarely as this, so a Lease that claims to last longer holds garbage.
LONGEST_LEASE_SECONDS: Final = 300
#: How much the retry period is stretched by chance, so that candidates do not ask in step.
JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The three times of an election, in seconds.

    Attributes:
        lease_duration: For so long a candidate has to see no renewal before it takes over.
        renew_deadline: For so long after its last renewal a leader goes on; all its calls together get no more.
        retry_period: Between two renewals, and between two looks of a candidate.

    Raises:
        ValueError: In that order they have to become shorter, with room for a retry (client-go's rule).
    """

    lease_duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what would let two lead, or nobody."""
        if not 1 <= self.lease_duration <= LONGEST_LEASE_SECONDS or self.lease_duration != int(self.lease_duration):
            raise ValueError(f"the lease duration has to be a whole number of seconds, 1 to {LONGEST_LEASE_SECONDS}")
        if not self.lease_duration > self.renew_deadline:
            raise ValueError("the lease duration has to be longer than the renew deadline")
        if not self.retry_period > 0:
            raise ValueError("the retry period has to be longer than nothing")
        if not self.renew_deadline > (1 + JITTER) * self.retry_period:
            raise ValueError(f"the renew deadline has to be longer than {1 + JITTER:g} times the retry period")


class LeaseRecord(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The `spec` of a Lease (coordination.k8s.io/v1). Every field may be missing; the times are never looked at."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None

    @property
    def holder(self) -> str:
        """Who holds it; empty for nobody."""
        return self.holder_identity or ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one elector has seen of the Lease.

    Attributes:
        record: As seen last. It stays when the Lease is deleted: who held it does not know of that yet.
        since: When it was first seen like this, in seconds of the elector's own monotonic clock.
    """

    record: LeaseRecord = field(default_factory=LeaseRecord)
    since: float = 0.0

    def look(self, record: LeaseRecord | None, now: float) -> Sight:
        """Return what is known after a read that found a record, or None for no Lease, and ended `now`."""
        return self if record is None or record == self.record else Sight(record, now)

    def free_at(self, timing: LeaseTiming) -> float:
        """Return when the holder can no longer be leading."""
        claimed = self.record.lease_duration_seconds
        seconds = timing.lease_duration if claimed is None else min(max(claimed, 1), LONGEST_LEASE_SECONDS)
        return self.since + seconds


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else holds the Lease.

    Attributes:
        holder: Who.
        until: When it can be taken at the earliest, if it is not renewed.
    """

    holder: str
    until: float


@dataclass(frozen=True, slots=True)
class Take:
    """The Lease may be taken, or renewed, by writing this record over the one that was seen.

    Attributes:
        record: What to write.
    """

    record: LeaseRecord


def decide(sight: Sight, identity: str, timing: LeaseTiming, *, now: float, wall: datetime) -> Wait | Take:
    """Decide what follows from what was seen.

    Args:
        sight: What was seen.
        identity: Ours, which no other elector has, not even this one's successor after a restart.
        timing: Our times.
        now: The monotonic clock, in seconds.
        wall: The wall clock, which is only written down.
    """
    before = sight.record
    if before.holder not in {"", identity} and now < sight.free_at(timing):
        return Wait(before.holder, sight.free_at(timing))
    renewed = micro_time(wall)
    if renewed == before.renew_time:
        # Others notice a renewal by the difference: it must not depend on a clock that goes on.
        renewed = micro_time(wall + timedelta(microseconds=1))
    ours = before.holder == identity
    transitions = before.lease_transitions
    return Take(
        LeaseRecord(
            holder_identity=identity,
            lease_duration_seconds=int(timing.lease_duration),
            acquire_time=before.acquire_time if ours and before.acquire_time else renewed,
            renew_time=renewed,
            lease_transitions=0 if transitions is None else transitions if ours else transitions + 1,
        )
    )


def released(record: LeaseRecord, wall: datetime) -> LeaseRecord:
    """Return what a leader writes when it leaves: nobody holds it, so that the next does not have to wait."""
    return LeaseRecord(
        holder_identity="",
        lease_duration_seconds=1,
        acquire_time=micro_time(wall),
        renew_time=micro_time(wall),
        lease_transitions=record.lease_transitions,
    )


def pause(timing: LeaseTiming, chance: float) -> float:
    """Return how long to wait until the next try, in seconds; `chance` is from 0 to 1."""
    return timing.retry_period * (1 + JITTER * chance)


def micro_time(moment: datetime) -> str:
    """Write a time as Kubernetes' MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
