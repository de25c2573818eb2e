"""`/mutate/orchestrationruns`: the label, and the deterministic name where the client left naming to the server."""

from __future__ import annotations

from dataclasses import dataclass

from webhook.admission.deadline import Deadline
from webhook.admission.patch import Add, PatchOperation, Remove, annotation_operations, pointer
from webhook.admission.response import Decision, allowed, patched
from webhook.admission.review import AdmissionRequest, Operation
from webhook.hooks.dedupe.core.label import LABEL, label_value
from webhook.hooks.dedupe.core.names import generated_name
from webhook.hooks.dedupe.core.run import OrchestrationRun


def operations(run: OrchestrationRun) -> tuple[PatchOperation, ...]:
    """The changes that a run needs before it is stored; none for one without deliveryId, none the second time."""
    delivery_id = run.delivery_id
    if delivery_id is None:
        return ()
    labels = run.metadata.labels if run.metadata else None
    label = annotation_operations(
        ("metadata", "labels"),
        labels,
        {**(labels or {}), LABEL: label_value(delivery_id)},
        parents_exist=0 if run.metadata is None else None,
    )
    if run.name or not run.generate_name:
        return label
    name = generated_name(run.generate_name, run.ref, delivery_id)
    return (*label, Add(pointer("metadata", "name"), name), Remove(pointer("metadata", "generateName")))


@dataclass(frozen=True, slots=True)
class Mutator:
    """The handler; a dry run gets the same changes, since they have no side effects."""

    async def __call__(self, request: AdmissionRequest[OrchestrationRun], deadline: Deadline) -> Decision:  # noqa: ARG002 - a handler's signature
        """Answer one request."""
        if request.operation is not Operation.CREATE or request.object is None:
            return allowed()
        return patched(operations(request.object))
