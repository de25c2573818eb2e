"""The answers to creates and updates: facts in, a `Decision` out.

kubectl prints only the message of a 409, 429 or 503 and only the causes of a 422, so each is complete by itself.
Source of the structures: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from dataclasses import dataclass

from webhook.admission.response import Decision, Status, StatusCause, StatusDetails, allowed, denied
from webhook.admission.text import shown
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import Resource


@dataclass(frozen=True, slots=True)
class Existing:
    """The run that a delivery already has.

    Attributes:
        name: Its name.
        uid: Its uid; empty if unknown.
        phase: Its phase, read live or the last one that was read; empty if there is none yet.
        run_id: `status.runId`; empty if unknown.
        stored: False if the run was deleted.
        same_parameters: Whether its parameters equal those of the new create.
    """

    name: str
    uid: str
    phase: str
    run_id: str = ""
    stored: bool = True
    same_parameters: bool = True

    @property
    def state(self) -> str:
        """The phase as messages show it."""
        phase = shown(self.phase)
        return f"phase {phase or 'Pending'}" if self.stored else f"deleted since, last phase {phase or 'unknown'}"


def admitted(key: DeliveryKey, *, recorded: bool, warnings: tuple[str, ...] = (), unproved: str = "") -> Decision:
    """Allow the first create of a delivery.

    Args:
        key: The delivery.
        recorded: False if the store holds no record of it, because it did not answer.
        warnings: Shown to the client.
        unproved: Name of the run of an earlier create that may have been stored and deleted unnoticed; empty for none.
    """
    annotations = {"delivery-id": shown(key.delivery_id), "idempotent": "false"}
    if not recorded:
        annotations["store"] = "unavailable"
    if unproved:
        annotations["unproved-run"] = unproved
    return allowed(warnings=warnings, audit_annotations=annotations)


def unproved_warning(key: DeliveryKey, name: str) -> str:
    """Warn that an earlier create of the delivery may have been stored and deleted unnoticed.

    Args:
        key: The delivery.
        name: Name of the run of that create.
    """
    return (
        f'Whether an earlier create of delivery {shown(key.delivery_id)!r}, as "{name}", made a run that was deleted '
        "since is unknown (dedupe.onUnproved: allow)"
    )


def rights_warning(resource: Resource, namespace: str) -> str:
    """Warn that duplicates in a namespace cannot be decided."""
    return f"Duplicates of this run cannot be decided: {_rights(resource, namespace)}"


def _rights(resource: Resource, namespace: str) -> str:
    return (
        f"rollonce may not read {resource.plural}.{resource.group} in this namespace; grant it by: "
        f"rollonce rbac -n {namespace} | kubectl apply -f -"
    )


def duplicate(resource: Resource, key: DeliveryKey, run: Existing, *, strict: bool) -> Decision:
    """Refuse a create whose delivery has a run already.

    Args:
        resource: The resource of the run.
        key: The delivery.
        run: The delivery's run.
        strict: Whether different parameters are an error of the client (422) instead of a remark.

    Returns:
        409 `AlreadyExists`, or 422 `Invalid`.
    """
    annotations = {
        "delivery-id": shown(key.delivery_id),
        "idempotent": "true",
        "run": run.name,
        "run-uid": run.uid,
        "phase": shown(run.phase),
    }
    text = (
        f'delivery {shown(key.delivery_id)!r} of orchestration "{shown(key.ref)}" already has its run: '
        f'{resource.kind} "{run.name}" ({run.state}); the request is idempotent and created nothing'
    )
    if run.same_parameters:
        return denied(_conflict(resource, run, text, ()), warnings=(_sentence(text),), audit_annotations=annotations)
    annotations["payload"] = "mismatch"
    mismatch = (
        f'the parameters (spec.parameters) differ from those of "{run.name}", '
        "which was submitted first with this deliveryId"
    )
    if strict:
        cause = StatusCause(reason="PayloadMismatch", message=f"{mismatch}; {text}", field="spec.parameters")
        return denied(
            _invalid(resource, run.name, (cause,)), warnings=(_sentence(mismatch),), audit_annotations=annotations
        )
    cause = StatusCause(reason="PayloadMismatch", message=mismatch, field="spec.parameters")
    return denied(
        _conflict(resource, run, f"{text}; {mismatch}", (cause,)),
        warnings=(_sentence(text), _sentence(mismatch)),
        audit_annotations=annotations,
    )


def in_flight(resource: Resource, key: DeliveryKey, name: str, *, retry_after: int) -> Decision:
    """Refuse a create for now: another one of the delivery was allowed, and it is unknown whether it was stored.

    Args:
        resource: The resource of the run.
        key: The delivery.
        name: Name of the run that may be stored soon.
        retry_after: Seconds after which to try again.
    """
    message = (
        f'another create of delivery {shown(key.delivery_id)!r}, {resource.kind} "{name}", is under way; '
        "whether it is stored will be known soon"
    )
    return _later(resource, key, Status(message, "TooManyRequests", 429), retry_after)


def unavailable(resource: Resource, key: DeliveryKey, why: str, *, retry_after: int) -> Decision:
    """Refuse a create for now: it is unknown whether it is a duplicate.

    Args:
        resource: The resource of the run.
        key: The delivery.
        why: The reason, as part of a sentence.
        retry_after: Seconds after which to try again.
    """
    message = f"it is unknown now whether delivery {shown(key.delivery_id)!r} already has its run: {why}"
    return _later(resource, key, Status(message, "ServiceUnavailable", 503), retry_after)


def misconfigured(resource: Resource, key: DeliveryKey) -> Decision:
    """Refuse a create until an administrator has granted a right: 403."""
    message = (
        f"it cannot be known whether delivery {shown(key.delivery_id)!r} already has its run: "
        f"{_rights(resource, key.namespace)}"
    )
    details = StatusDetails(group=resource.group, kind=resource.plural)
    annotations = {"delivery-id": shown(key.delivery_id), "idempotent": "unknown"}
    return denied(Status(message, "Forbidden", 403, details=details), audit_annotations=annotations)


def immutable(resource: Resource, name: str, fields: tuple[str, ...]) -> Decision:
    """Refuse an update that changes the identity of the delivery: 422.

    Args:
        resource: The resource of the run.
        name: Name of the run.
        fields: The fields that the update adds, changes or removes.
    """
    causes = tuple(
        StatusCause(
            reason="FieldValueInvalid",
            message="Invalid value: it identifies the delivery and cannot be added, changed or removed afterwards; "
            "submit a new run instead",
            field=field,
        )
        for field in fields
    )
    return denied(_invalid(resource, name, causes))


def _conflict(resource: Resource, run: Existing, message: str, causes: tuple[StatusCause, ...]) -> Status:
    details = StatusDetails(name=run.name, group=resource.group, kind=resource.plural, uid=run.uid, causes=causes)
    return Status(message=message, reason="AlreadyExists", code=409, details=details)


def _invalid(resource: Resource, name: str, causes: tuple[StatusCause, ...]) -> Status:
    text = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
    details = StatusDetails(name=name, group=resource.group, kind=resource.kind, causes=causes)
    return Status(message=f'{resource.kind} "{name}" is invalid: {text}', reason="Invalid", code=422, details=details)


def _later(resource: Resource, key: DeliveryKey, status: Status, retry_after: int) -> Decision:
    details = StatusDetails(group=resource.group, kind=resource.plural, retry_after_seconds=retry_after)
    message = f"{status.message}; try again in {retry_after} s"
    return denied(
        Status(message=message, reason=status.reason, code=status.code, details=details),
        audit_annotations={"delivery-id": shown(key.delivery_id), "idempotent": "unknown"},
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
