"""Write a decision: one patch, over exactly the version that was decided about."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from webhook.checksums.controller.cache import ClusterCache
from webhook.checksums.core.decide import Hold, WorkloadDecision
from webhook.checksums.core.plan import Observed
from webhook.checksums.metrics import RolloutMetrics
from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.kube.election import Term
from webhook.kube.objects import DECODE_ERRORS
from webhook.kube.writes import Refused, Written, patch_json

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

    async def write(self, observed: Observed) -> bool:
        """Write a decision.

        Returns:
            Whether it was written; if not, another client wrote or deleted the workload in between.

        Raises:
            KubernetesError: It was refused, or it is unknown whether it was written.
            DeadlineExceededError: The term is over.
        """
        workload_id, reason = observed.id, PatchReason.of(observed.decision)

        def count(outcome: str) -> None:
            self._metrics.patches.labels(workload_id.kind.name, reason.value, outcome).inc()

        try:
            result = await patch_json(
                self._api,
                workload_id.path,
                observed.decision.operations,
                resource_version=observed.resource_version,
                deadline=self._term.deadline(WRITE_SECONDS),
                field_manager=FIELD_MANAGER,
            )
        except KubernetesError:
            count("unknown")
            raise
        count(type(result).__name__.lower())
        match result:
            case Refused(status, message):
                raise KubernetesError(f"The API server answered {status} to the patch of {workload_id}: {message}")
            case Written(body):
                self._keep(observed, body)
            case _:
                self._cache.conflicted(workload_id, observed.resource_version)
        return isinstance(result, Written)

    def _keep(self, observed: Observed, body: bytes) -> None:
        kind = observed.id.kind
        try:
            stored = msgspec.json.decode(body, type=kind.stored_type)
        except DECODE_ERRORS:
            raise KubernetesError(f"The answer to the patch of {observed.id} is no {kind.name}.") from None
        self._cache.wrote(observed.id, observed.resource_version, stored)
