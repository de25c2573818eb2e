"""The answers to creates and updates: facts in, a `Decision` out.

kubectl prints only the message of a 409, 429 or 503 and only the causes of a 422, so each is complete by itself.
Source of the structures: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from webhook.admission.response import Decision, Status, StatusCause, StatusDetails, allowed, denied
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import Resource

#: kubectl tries 10 times: with this pause, for longer than the lease of a reservation.
RETRY_AFTER_SECONDS: Final = 10
#: A short outage of the store or the API server ends sooner than a lease; 10 tries still take 50 seconds.
UNAVAILABLE_RETRY_AFTER_SECONDS: Final = 5
_SHOWN: Final = 128


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
        phase = self.phase or "Pending"
        return f"phase {phase}" if self.stored else f"deleted since, last phase {self.phase or 'unknown'}"


def shown(text: str) -> str:
    """Return a text of a client, cut to a length that suits a message, a log line or an annotation."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def admitted(key: DeliveryKey, *, recorded: bool) -> Decision:
    """Allow the first create of a delivery.

    Args:
        key: The delivery.
        recorded: False if the store holds no record of it, because it did not answer.
    """
    annotations = {"delivery-id": shown(key.delivery_id), "idempotent": "false"}
    return allowed(audit_annotations=annotations if recorded else annotations | {"store": "unavailable"})


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
        "phase": run.phase,
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


def in_flight(resource: Resource, key: DeliveryKey, name: str) -> Decision:
    """Refuse a create for now: another one of the delivery was allowed, and it is unknown whether it was stored.

    Args:
        resource: The resource of the run.
        key: The delivery.
        name: Name of the run that may be stored soon.
    """
    message = (
        f'another create of delivery {shown(key.delivery_id)!r}, {resource.kind} "{name}", is under way; '
        "whether it is stored will be known soon"
    )
    return _later(resource, key, Status(message, "TooManyRequests", 429), RETRY_AFTER_SECONDS)


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
