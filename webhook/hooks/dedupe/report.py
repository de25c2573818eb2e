"""What an operator is told of runs and records, as it is written with `-o json`. Unknown times are empty."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from webhook.hooks.dedupe.core.record import Record, State
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.core.standing import Standing


class RecordReport(msgspec.Struct, frozen=True):
    """What the store remembers of a delivery."""

    state: str
    run: str
    uid: str
    phase: str
    created: str
    reserved: str
    expires: str
    forgotten_run_uid: str


class RunReport(msgspec.Struct, frozen=True):
    """A run that is stored, and how the store stands to it."""

    namespace: str
    orchestration: str
    delivery_id: str
    run: str
    uid: str
    phase: str
    run_id: str
    created: str
    standing: Standing
    recorded_run: str


class DeliveryReport(msgspec.Struct, frozen=True):
    """All that is known of one delivery."""

    namespace: str
    orchestration: str
    delivery_id: str
    record: RecordReport | None
    runs: list[RunReport]


class Finding(msgspec.Struct, frozen=True):
    """A run whose record is not as it should be."""

    run: RunReport
    mendable: bool
    mended: bool


class VerifyReport(msgspec.Struct, frozen=True):
    """The store compared with the cluster."""

    checked: int
    findings: list[Finding]
    doubted_buckets: int

    @property
    def healthy(self) -> bool:
        """Whether nothing is left to be done by anybody."""
        return all(finding.mended for finding in self.findings)


def run_report(run: OrchestrationRun, standing: Standing, record: Record | None) -> RunReport:
    """Describe a stored run."""
    return RunReport(
        namespace=run.namespace,
        orchestration=run.ref,
        delivery_id=run.delivery_id or "",
        run=run.name,
        uid=run.uid,
        phase=run.phase,
        run_id=run.run_id,
        created=time_text(run.created_at),
        standing=standing,
        recorded_run=record.name if record and record.state is not State.FORGOTTEN else "",
    )


def record_report(record: Record, *, expires_at: float) -> RecordReport:
    """Describe a record; `expires_at` is in seconds since 1970, 0 if unknown."""
    return RecordReport(
        state=record.state.name.lower(),
        run=record.name,
        uid=record.uid,
        phase=record.phase,
        created=time_text(record.created_at),
        reserved=time_text(record.reserved_at / 1000),
        expires=time_text(expires_at),
        forgotten_run_uid=record.forgotten.uid if record.forgotten else "",
    )


def time_text(seconds: float) -> str:
    """Write a time in seconds since 1970; 0 is no time."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z") if seconds else ""
