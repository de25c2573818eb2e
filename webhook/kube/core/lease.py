"""The rules of leader election, as functions of what was read of a Lease and of a monotonic clock.

They are the rules of client-go (`k8s.io/client-go/tools/leaderelection`):

- Clocks of two machines are never compared; the times in a Lease are for people. A candidate measures by its own clock
  for how long the record has not changed. A leader measures the time since it *sent* the last acknowledged renewal.
- A candidate sees a renewal after the leader sent it, and waits for the lease duration, which is longer than the renew
  deadline. So the leader has stopped before a candidate takes over. A frozen leader stops as soon as it runs again.
- Every write carries the resourceVersion that the decision was made for: of two candidates, one is refused.

https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

#: No leader renews as rarely as this, so a longer duration in a Lease is not believed.
LONGEST_LEASE_SECONDS: Final = 300
#: Share of the retry period that is added at random, so that candidates do not act in step.
JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The three times of an election, in seconds.

    Attributes:
        lease_duration: Time without a renewal after which a candidate takes over.
        renew_deadline: Time after its last renewal for which a leader goes on; the calls of one renewal share it.
        retry_period: Time between two renewals, and between two reads of a candidate.

    Raises:
        ValueError: They do not decrease in this order, with room for a retry (client-go's rule).
    """

    lease_duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        """Reject times with which two replicas could lead, or none."""
        if not 1 <= self.lease_duration <= LONGEST_LEASE_SECONDS or self.lease_duration != int(self.lease_duration):
            raise ValueError(f"the lease duration must be a whole number of seconds, 1 to {LONGEST_LEASE_SECONDS}")
        if not self.lease_duration > self.renew_deadline:
            raise ValueError("the lease duration must be longer than the renew deadline")
        if not self.retry_period > 0:
            raise ValueError("the retry period must be longer than nothing")
        if not self.renew_deadline > (1 + JITTER) * self.retry_period:
            raise ValueError(f"the renew deadline must be longer than {1 + JITTER:g} times the retry period")


class LeaseRecord(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The `spec` of a Lease (coordination.k8s.io/v1). Every field may be absent; the times are not used."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None

    @property
    def holder(self) -> str:
        """The holder's identity; empty if there is none."""
        return self.holder_identity or ""


@dataclass(frozen=True, slots=True)
class LeaseObservation:
    """What one elector has read of the Lease.

    Attributes:
        record: As read last. It is kept when the Lease is deleted: its holder does not know of that yet.
        since: When this record was first read, in seconds of the elector's own monotonic clock.
    """

    record: LeaseRecord = field(default_factory=LeaseRecord)
    since: float = 0.0

    def look(self, record: LeaseRecord | None, now: float) -> LeaseObservation:
        """Return the observation after a read that ended `now` and found this record, or None for no Lease."""
        return self if record is None or record == self.record else LeaseObservation(record, now)

    def free_at(self, timing: LeaseTiming) -> float:
        """Return the time from which the holder cannot be leading."""
        claimed = self.record.lease_duration_seconds
        seconds = timing.lease_duration if claimed is None else min(max(claimed, 1), LONGEST_LEASE_SECONDS)
        return self.since + seconds


@dataclass(frozen=True, slots=True)
class Wait:
    """Another replica holds the Lease.

    Attributes:
        holder: Its identity.
        until: The earliest time at which the Lease can be taken, if it is not renewed.
    """

    holder: str
    until: float


@dataclass(frozen=True, slots=True)
class Take:
    """The Lease may be acquired or renewed by writing this record over the one that was read.

    Attributes:
        record: What to write.
    """

    record: LeaseRecord


def decide(
    observation: LeaseObservation, identity: str, timing: LeaseTiming, *, now: float, wall: datetime
) -> Wait | Take:
    """Decide what to do after a read.

    Args:
        observation: What was read.
        identity: This elector's identity, which no other elector has, not even its successor after a restart.
        timing: This elector's times.
        now: The monotonic clock, in seconds.
        wall: The time of day, which is only written down.
    """
    before = observation.record
    if before.holder not in {"", identity} and now < observation.free_at(timing):
        return Wait(before.holder, observation.free_at(timing))
    renewed = micro_time(wall)
    if renewed == before.renew_time:
        # Others notice a renewal by the difference, which must not depend on a clock that moves.
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
    """Return the record that a leader writes when it leaves: no holder, so that the next need not wait."""
    return LeaseRecord(
        holder_identity="",
        lease_duration_seconds=1,
        acquire_time=micro_time(wall),
        renew_time=micro_time(wall),
        lease_transitions=record.lease_transitions,
    )


def pause(timing: LeaseTiming, jitter: float) -> float:
    """Return the seconds until the next attempt; `jitter` is from 0 to 1."""
    return timing.retry_period * (1 + JITTER * jitter)


def micro_time(moment: datetime) -> str:
    """Return a time in the form of Kubernetes' MicroTime."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
