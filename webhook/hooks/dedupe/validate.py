"""`/validate/orchestrationruns`: one run for each delivery, and a delivery that stays what it was."""

from __future__ import annotations

from dataclasses import dataclass

from webhook.admission.deadline import Deadline
from webhook.admission.response import Decision, allowed
from webhook.admission.review import AdmissionRequest, Operation
from webhook.errors import RollonceError
from webhook.hooks.dedupe.core import answers
from webhook.hooks.dedupe.core.answers import UNAVAILABLE_RETRY_AFTER_SECONDS, shown
from webhook.hooks.dedupe.core.decide import Verdict
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.submit import Parts, Submission


def changed_identity(old: OrchestrationRun, new: OrchestrationRun) -> tuple[str, ...]:
    """Name the fields that an update may not touch and does; none if neither object asks for deduplication."""
    if old.delivery_id is None and new.delivery_id is None:
        return ()
    fields = (
        ("spec.deliveryId", old.delivery_id, new.delivery_id),
        ("spec.orchestrationRef", old.ref, new.ref),
    )
    return tuple(field for field, before, after in fields if before != after)


@dataclass(frozen=True, slots=True)
class Validator:
    """The handler.

    Attributes:
        parts: What a submission works with.
    """

    parts: Parts

    async def __call__(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:
        """Answer one request; a dry run reads and writes nothing."""
        if request.object is None:
            return allowed()
        if request.operation is Operation.UPDATE and request.old_object is not None:
            fields = changed_identity(request.old_object, request.object)
            return answers.immutable(self.parts.settings.resource, request.name, fields) if fields else allowed()
        if request.operation is not Operation.CREATE or request.is_dry_run:
            return allowed()
        return await self._create(request, request.object, deadline)

    async def _create(
        self, request: AdmissionRequest[OrchestrationRun], run: OrchestrationRun, deadline: Deadline
    ) -> Decision:
        key = run.key(request.namespace)
        if key is None:
            return allowed()
        try:
            verdict, decision = await Submission(self.parts, key, run, request.uid, deadline).decide()
        except RollonceError as error:
            verdict = Verdict.UNAVAILABLE
            decision = answers.unavailable(
                self.parts.settings.resource, key, str(error).rstrip("."), retry_after=UNAVAILABLE_RETRY_AFTER_SECONDS
            )
        outcome = verdict.value.replace(" ", "_")
        self.parts.metrics.decisions.labels(outcome).inc()
        self.parts.log.info(
            "Decided a create.",
            deliveryId=shown(key.delivery_id),
            idempotent=verdict is Verdict.DUPLICATE,
            namespace=key.namespace,
            run=decision.audit_annotations.get("run") or run.name,
            outcome=outcome,
        )
        return decision
