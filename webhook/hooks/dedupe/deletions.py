"""`/note-deletion/orchestrationruns`: a run that is being deleted had been stored. Never refuses."""

from __future__ import annotations

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from webhook.admission.deadline import Deadline
from webhook.admission.response import Decision, allowed
from webhook.admission.review import AdmissionRequest, Operation
from webhook.errors import RollonceError
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.answers import shown
from webhook.hooks.dedupe.core.run import OrchestrationRun


@dataclass(frozen=True, slots=True)
class DeletionNoter:
    """The handler.

    Attributes:
        confirmer: Writes down that the run was stored.
        log: For what could not be written.
    """

    confirmer: Confirmer
    log: FilteringBoundLogger

    async def __call__(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:
        """Answer one request."""
        run = request.old_object
        if request.operation is not Operation.DELETE or run is None or run.delivery_id is None or request.is_dry_run:
            return allowed()
        try:
            await self.confirmer.confirm(run, deadline, by="delete")
        except RollonceError as error:
            self.log.warning(
                "A deletion could not be noted.", deliveryId=shown(run.delivery_id), run=run.name, error=str(error)
            )
        return allowed()
