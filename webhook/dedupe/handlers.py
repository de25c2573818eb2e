"""The handlers of the webhooks for runs."""

from __future__ import annotations

from typing import Any

from webhook.admission.patch import PatchOperation, diff
from webhook.admission.response import Decision, allowed, patched
from webhook.admission.review import AdmissionRequest, Operation
from webhook.admission.text import shown
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core import answers
from webhook.dedupe.core.decide import Verdict
from webhook.dedupe.core.identity import LABEL, generated_name, label_value
from webhook.dedupe.core.retry_after import SHORTEST
from webhook.dedupe.core.run import OrchestrationRun, changed_identity
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.validator import RunValidator
from webhook.errors import RollonceError
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger


def run_patch(run: OrchestrationRun) -> tuple[PatchOperation, ...]:
    """Return the changes that a run needs before it is stored: its label, and its name if it has only a prefix.

    Returns:
        Nothing for a run without deliveryId, and nothing for a run that was changed already.
    """
    delivery_id = run.delivery_id
    if delivery_id is None:
        return ()
    # Labels that are null are left out: adding them replaces the null.
    before: dict[str, Any] = {} if run.labels is None else {"labels": run.labels}
    after: dict[str, Any] = {"labels": {**(run.labels or {}), LABEL: label_value(delivery_id)}}
    if run.generate_name and not run.name:
        before["generateName"] = run.generate_name
        after["name"] = generated_name(run.generate_name, run.ref, delivery_id)
    return diff({} if run.metadata is None else {"metadata": before}, {"metadata": after})


class RunHandlers:
    """Handle the requests of the webhooks.

    Args:
        validator: Decides about creates.
        confirmer: Confirms the records of runs that are deleted.
        settings: The settings of deduplication.
        log: Receives one line for each decision.
        metrics: Counts decisions.
    """

    def __init__(
        self,
        validator: RunValidator,
        confirmer: Confirmer,
        settings: DedupeSettings,
        *,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._validator = validator
        self._confirmer = confirmer
        self._resource = settings.resource
        self._log = log
        self._metrics = metrics

    async def mutate(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:  # noqa: ARG002 - a handler's signature
        """Set the label and the generated name of a new run; a dry run is changed too, as there are no side effects."""
        if request.operation is not Operation.CREATE or request.object is None:
            return allowed()
        return patched(run_patch(request.object))

    async def restore_label(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:  # noqa: ARG002 - as above
        """Set the label again that an update has changed or removed."""
        if request.operation is not Operation.UPDATE or request.object is None:
            return allowed()
        return patched(run_patch(request.object))

    async def guard(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:  # noqa: ARG002 - as above
        """Refuse an update that changes the identity of a delivery."""
        if request.operation is not Operation.UPDATE or request.object is None or request.old_object is None:
            return allowed()
        fields = changed_identity(request.old_object, request.object)
        return answers.immutable(self._resource, request.name, fields) if fields else allowed()

    async def validate(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:
        """Allow one create for each delivery; a dry run reads and writes nothing."""
        run = request.object
        if run is None or request.operation is not Operation.CREATE or request.is_dry_run:
            return allowed()
        key = run.key(request.namespace)
        if key is None:
            return allowed()
        try:
            verdict, decision = await self._validator.decide(key, run, request.uid, deadline)
        except RollonceError as error:
            verdict, why = Verdict.UNAVAILABLE, str(error).rstrip(".")
            decision = answers.unavailable(self._resource, key, why, retry_after=SHORTEST)
        outcome = verdict.value.replace(" ", "_")
        self._metrics.decisions.labels(outcome).inc()
        self._log.info(
            "run decided",
            deliveryId=shown(key.delivery_id),
            idempotent=verdict is Verdict.DUPLICATE,
            namespace=key.namespace,
            run=decision.audit_annotations.get("run") or run.name,
            outcome=outcome,
            request_uid=request.uid,
        )
        return decision

    async def note_deletion(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:
        """Confirm the record of a run that is deleted, because the run was stored; never refuses."""
        run = request.old_object
        if request.operation is not Operation.DELETE or run is None or run.delivery_id is None or request.is_dry_run:
            return allowed()
        try:
            await self._confirmer.confirm(run, deadline, by="delete")
        except RollonceError as error:
            self._confirmer.postpone(run, by="delete")
            self._log.warning(
                "deletion not noted yet",
                deliveryId=shown(run.delivery_id),
                run=run.name,
                problem=str(error),
                request_uid=request.uid,
            )
        return allowed()
