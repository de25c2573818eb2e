"""The output of `rollonce runs` as structs, as `-o json` writes them. Unknown times are empty."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from webhook.dedupe.core.evidence import RecordStatus
from webhook.dedupe.core.record import Record, State
from webhook.dedupe.core.run import OrchestrationRun


class RecordReport(msgspec.Struct, frozen=True):
    """What the store holds about a delivery."""

    state: str
    run: str
    uid: str
    phase: str
    created: str
    reserved: str
    expires: str
    forgotten_run_uid: str


class RunReport(msgspec.Struct, frozen=True):
    """A stored run, and what the store holds about it."""

    namespace: str
    orchestration: str
    delivery_id: str
    run: str
    uid: str
    phase: str
    run_id: str
    created: str
    status: RecordStatus
    recorded_run: str


class DeliveryReport(msgspec.Struct, frozen=True):
    """Everything that is known about one delivery."""

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


class MissingRun(msgspec.Struct, frozen=True):
    """A run that was stored once and is not any more, while its record still refuses its delivery."""

    namespace: str
    run: str
    uid: str
    created: str
    phase: str


class MissingReport(msgspec.Struct, frozen=True):
    """Confirmed records whose runs are not stored.

    Attributes:
        count: How many there are.
        runs: The first of them, or all.
        undecided: Records of which this is unknown, because they do not tell their namespace or cannot be decoded.
    """

    count: int
    runs: list[MissingRun]
    undecided: int


class VerifyReport(msgspec.Struct, frozen=True):
    """The result of comparing the store with the cluster.

    Attributes:
        checked: How many runs were compared.
        findings: Those whose record is not as it should be.
        unsynced_buckets: Buckets that are being rebuilt.
        missing: Records without a run; None if they were not looked for. They are no fault: the deletion of a finished
            run leaves one too.
    """

    checked: int
    findings: list[Finding]
    unsynced_buckets: int
    missing: MissingReport | None = None

    @property
    def healthy(self) -> bool:
        """Whether nothing is left that is wrong."""
        return all(finding.mended for finding in self.findings)


def run_report(run: OrchestrationRun, status: RecordStatus, record: Record | None) -> RunReport:
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
        status=status,
        recorded_run=record.name if record and record.state is not State.FORGOTTEN else "",
    )


def missing_run(record: Record) -> MissingRun:
    """Describe the run of a record without a run."""
    return MissingRun(record.namespace, record.name, record.uid, time_text(record.created_at), record.phase)


def record_report(record: Record, *, expires_at: float) -> RecordReport:
    """Describe a record.

    Args:
        record: The record.
        expires_at: In seconds since 1970; 0 if unknown.
    """
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
    """Return a time in seconds since 1970 as text; 0 gives an empty text."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z") if seconds else ""
