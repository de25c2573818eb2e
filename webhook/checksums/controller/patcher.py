"""Write a decision: one patch, over exactly the version that was decided about."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from webhook.admission.patch import PatchOperation
from webhook.checksums.controller.cache import ClusterCache
from webhook.checksums.core.decide import Hold, WorkloadDecision
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.plan import Observed
from webhook.checksums.core.workload import Workload
from webhook.checksums.metrics import RolloutMetrics
from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.kube.election import Term
from webhook.kube.objects import DECODE_ERRORS
from webhook.kube.writes import Conflict, PatchResult, Refused, Vanished, Written, patch_json

WRITE_SECONDS: Final = 10.0
#: Shown as the writer in `metadata.managedFields`.
FIELD_MANAGER: Final = "rollonce"


class PatchReason(Enum):
    """Why a workload is patched."""

    CHANGED = "changed"
    REMOVED = "removed"
    RELEASED = "released"
    KEPT = "kept"

    @classmethod
    def of(cls, decision: WorkloadDecision) -> PatchReason:
        """Return the most important effect of a decision; `KEPT` changes only annotations of the workload itself."""
        if decision.hold is Hold.RELEASED:
            return cls.RELEASED
        if decision.changed:
            return cls.CHANGED
        return cls.REMOVED if decision.removed else cls.KEPT


class WriteOutcome(Enum):
    """What became of a write.

    Attributes:
        WRITTEN: It is stored.
        LOST: Another client wrote or deleted the workload in between.
        REVERTED: The API server accepted it, but what it stored is as it was before: an admission webhook undid it.
    """

    WRITTEN = "written"
    LOST = "lost"
    REVERTED = "reverted"


class WorkloadPatcher:
    """Write decisions about workloads.

    Args:
        api: The API server. Needs patch of the workloads.
        cache: Receives what was written.
        term: No write is sent after its end.
        metrics: Counters.
    """

    def __init__(self, api: KubernetesApi, cache: ClusterCache, term: Term, metrics: RolloutMetrics) -> None:
        self._api = api
        self._cache = cache
        self._term = term
        self._metrics = metrics

    async def write(self, observed: Observed) -> WriteOutcome:
        """Write a decision.

        Raises:
            KubernetesError: It was refused, or it is unknown whether it was written.
            DeadlineExceededError: The term is over.
        """
        reason = PatchReason.of(observed.decision)

        def count(outcome: str) -> None:
            self._metrics.patches.labels(observed.id.kind.name, reason.value, outcome).inc()

        try:
            result = await self._patch(observed, observed.decision.operations)
            stored = self._stored(observed, result)
        except KubernetesError:
            count("unknown")
            raise
        outcome = _outcome(observed, stored)
        count(outcome.value if outcome is WriteOutcome.REVERTED else type(result).__name__.lower())
        if isinstance(result, Refused):
            raise _refused(observed, result)
        return outcome

    async def annotate(self, observed: Observed, name: str, value: str) -> None:
        """Set an annotation of a workload itself; if another client writes first, it is not set.

        Raises:
            KubernetesError: It was refused, or it is unknown whether it was written.
            DeadlineExceededError: The term is over.
        """
        operations = observed.workload.patch(annotations={**observed.workload.annotations, name: value})
        if operations:
            result = await self._patch(observed, operations)
            self._stored(observed, result)
            if isinstance(result, Refused):
                raise _refused(observed, result)

    async def _patch(self, observed: Observed, operations: tuple[PatchOperation, ...]) -> PatchResult:
        return await patch_json(
            self._api,
            observed.id.path,
            operations,
            resource_version=observed.resource_version,
            deadline=self._term.deadline(WRITE_SECONDS),
            field_manager=FIELD_MANAGER,
        )

    def _stored(self, observed: Observed, result: PatchResult) -> StoredWorkload | None:
        """Note the result of a patch in the cache; return what is stored now, if it was written."""
        workload_id, over = observed.id, observed.resource_version
        if isinstance(result, Conflict | Vanished):
            self._cache.conflicted(workload_id, over)
        if not isinstance(result, Written):
            return None
        try:
            stored = msgspec.json.decode(result.body, type=workload_id.kind.stored_type)
        except DECODE_ERRORS:
            raise KubernetesError(f"The answer to the patch of {workload_id} is no {workload_id.kind.name}.") from None
        # A write that changes nothing is no write: the watch will never show it.
        if stored.metadata.resource_version != over:
            self._cache.wrote(workload_id, over, stored)
        return stored


def _refused(observed: Observed, result: Refused) -> KubernetesError:
    return KubernetesError(f"The API server answered {result.status} to the patch of {observed.id}: {result.message}")


def _outcome(observed: Observed, stored: StoredWorkload | None) -> WriteOutcome:
    if stored is None:
        return WriteOutcome.LOST
    before, after = observed.workload.template_annotations, Workload.of_stored(observed.id.kind, stored)
    reverted = (
        stored.metadata.resource_version == observed.resource_version
        or any(after.template_annotations.get(key) == before.get(key) for key in observed.decision.keys)
        or (observed.decision.hold is Hold.RELEASED and after.paused)
    )
    return WriteOutcome.REVERTED if reverted else WriteOutcome.WRITTEN
