"""Telling people: Events on the workload, log lines and metrics. Each thing once, until it is otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from webhook.hooks.checksums.core.optin import Problem
from webhook.hooks.checksums.core.plan import Observed, Plan
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.hooks.checksums.metrics import RollMetrics
from webhook.log import Logger


class Teller:
    """Tells people.

    Args:
        log: Gets a line for each write.
        metrics: Counts what was noticed.
    """

    def __init__(self, log: Logger, metrics: RollMetrics) -> None:
        self._log = log
        self._metrics = metrics

    def looked(self, looked: Observed, problems: Iterable[Problem]) -> None:
        """Tell of what a look has found."""

    def wrote(self, written: Observed) -> None:
        """Tell of a write."""
        self._log.info(
            "A workload was patched.",
            workload=str(written.id),
            changed=[str(source) for source in written.outcome.changed],
            removed=len(written.outcome.removed),
            hold=written.outcome.hold.value,
        )

    def stopped(self, namespace: str, planned: Plan) -> None:
        """Tell of waves that stand still."""

    def forget(self, one: WorkloadId) -> None:
        """Forget what was told of a workload."""
