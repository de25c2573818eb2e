"""Writing a decision: one PATCH, over exactly the version that was decided about."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from webhook.clients.api import KubernetesApi
from webhook.controller.election import Term
from webhook.controller.objects import DecodeError
from webhook.controller.writes import Refused, Written, patch_json
from webhook.errors import KubernetesError
from webhook.hooks.checksums.controller.stored import MirroredWorkload, path_of
from webhook.hooks.checksums.controller.view import View
from webhook.hooks.checksums.core.decide import Hold, Outcome
from webhook.hooks.checksums.core.plan import Observed
from webhook.hooks.checksums.metrics import RollMetrics

WRITE_SECONDS: Final = 10.0
#: Shown as the owner of what we write, in `metadata.managedFields`.
FIELD_MANAGER: Final = "rollonce"

_decoder: Final = msgspec.json.Decoder(MirroredWorkload)


class Reason(Enum):
    """What a patch is for."""

    CHANGED = "changed"
    REMOVED = "removed"
    RELEASED = "released"
    KEPT = "kept"

    @classmethod
    def of(cls, outcome: Outcome) -> Reason:
        """Name the most important thing that a decision does; `KEPT` is about our own annotations only."""
        if outcome.hold is Hold.RELEASED:
            return cls.RELEASED
        if outcome.changed:
            return cls.CHANGED
        return cls.REMOVED if outcome.removed else cls.KEPT


class Patcher:
    """Writes workloads.

    Args:
        api: The API server. Needs patch of the workloads.
        view: Told of what was written.
        term: No write is sent after its end.
        metrics: Counts.
    """

    def __init__(self, api: KubernetesApi, view: View, term: Term, *, metrics: RollMetrics) -> None:
        self._api = api
        self._view = view
        self._term = term
        self._metrics = metrics

    async def write(self, observed: Observed) -> bool:
        """Write a decision.

        Returns:
            Whether it is written; if not, somebody else wrote or deleted the workload in between.

        Raises:
            KubernetesError: It was refused, or nobody knows whether it was written.
            DeadlineExceededError: The term is over.
        """
        one, reason = observed.id, Reason.of(observed.outcome)

        def count(outcome: str) -> None:
            self._metrics.patches.labels(one.kind, reason.value, outcome).inc()

        try:
            result = await patch_json(
                self._api,
                path_of(one),
                observed.outcome.operations,
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
                raise KubernetesError(f"The API server answered {status} to the patch of {one}: {message}")
            case Written(body):
                try:
                    self._view.wrote(one, observed.resource_version, _decoder.decode(body))
                except DecodeError:
                    raise KubernetesError(f"The answer to the patch of {one} is no {one.kind}.") from None
        return isinstance(result, Written)
