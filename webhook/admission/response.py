"""Answers to an admission request and how they are written.

The words are those of the field: allowed, patched, denied, errored. A refusal is always an HTTP 200 with
`allowed: false`; what the client reads is the `status` inside.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import msgspec

from webhook.admission import patch as json_patch
from webhook.admission.patch import PatchOperation
from webhook.admission.review import API_VERSION, KIND
from webhook.admission.text import shown

#: The API server cuts a single warning at 256 characters where many are sent, and all of them at 4096 together.
#: Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response
WARNING_LIMIT = 256
WARNINGS_LIMIT = 4096
#: The most characters of a message and of an audit annotation: more would be somebody's data, not our words.
MESSAGE_LIMIT = 2048
ANNOTATION_LIMIT = 512


class StatusCause(msgspec.Struct, frozen=True, omit_defaults=True):
    """One cause of a refusal (`metav1.StatusCause`)."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the refusal is about (`metav1.StatusDetails`).

    Attributes:
        retry_after_seconds: Whole seconds; with code 429 or 503 kubectl waits that long and tries again by itself.
    """

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[StatusCause, ...] = ()
    retry_after_seconds: int = 0


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """What the client of a refused request gets to read (`metav1.Status`).

    `status` is always sent: the server hands the whole to the client as it is.
    """

    message: str
    reason: str
    code: int
    status: str = "Failure"
    details: StatusDetails | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Hold the rule of the API that an answer which asks for a retry has a code that allows one."""
        asks_for_retry = self.details is not msgspec.UNSET and self.details.retry_after_seconds > 0
        if asks_for_retry and self.code not in {429, 503}:
            raise ValueError("retry_after_seconds goes with 429 or 503")


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request.

    Attributes:
        allowed: Whether the request goes on.
        operations: Changes to the object; only for a mutating webhook and only if allowed.
        status: Why not; only if not allowed.
        warnings: Lines shown to the client, whether allowed or not.
        audit_annotations: Written to the audit log; keys are qualified with the webhook's name by the server.
    """

    allowed: bool
    operations: tuple[PatchOperation, ...] = ()
    status: Status | None = None
    warnings: tuple[str, ...] = ()
    audit_annotations: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the rules of the protocol."""
        if self.operations and not self.allowed:
            raise ValueError("a refusal carries no patch")
        if self.status is not None and self.allowed:
            raise ValueError("a status goes with a refusal")


def allowed(*, warnings: tuple[str, ...] = (), audit_annotations: dict[str, str] | None = None) -> Decision:
    """Let the request go on as it is."""
    return Decision(allowed=True, warnings=warnings, audit_annotations=audit_annotations or {})


def patched(
    operations: tuple[PatchOperation, ...],
    *,
    warnings: tuple[str, ...] = (),
    audit_annotations: dict[str, str] | None = None,
) -> Decision:
    """Let the request go on, changed; no operations at all is the same as `allowed`."""
    return Decision(allowed=True, operations=operations, warnings=warnings, audit_annotations=audit_annotations or {})


def denied(
    status: Status, *, warnings: tuple[str, ...] = (), audit_annotations: dict[str, str] | None = None
) -> Decision:
    """Refuse the request."""
    return Decision(allowed=False, status=status, warnings=warnings, audit_annotations=audit_annotations or {})


class _Response(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    uid: str
    allowed: bool
    status: Status | None = None
    patch: str = ""
    patch_type: str = ""
    warnings: tuple[str, ...] = ()
    audit_annotations: dict[str, str] = {}


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    response: _Response


_encoder = msgspec.json.Encoder()


def encode(uid: str, decision: Decision) -> bytes:
    """Write the answer to a request.

    Args:
        uid: The request's, echoed.
        decision: What to answer.

    Returns:
        The JSON of an `AdmissionReview` with a response.
    """
    operations = decision.operations
    return _encoder.encode(
        _Review(
            api_version=API_VERSION,
            kind=KIND,
            response=_Response(
                uid=uid,
                allowed=decision.allowed,
                status=_shown_status(decision.status) if decision.status else None,
                patch=base64.b64encode(json_patch.encode(operations)).decode() if operations else "",
                patch_type="JSONPatch" if operations else "",
                warnings=bounded_warnings(decision.warnings),
                audit_annotations={
                    key: shown(value, ANNOTATION_LIMIT) for key, value in decision.audit_annotations.items()
                },
            ),
        )
    )


def _shown_status(status: Status) -> Status:
    """Return a status in which nothing that others wrote is raw: features quote ids, names and phases in it."""
    details = status.details
    if isinstance(details, StatusDetails):
        details = msgspec.structs.replace(
            details,
            name=shown(details.name, MESSAGE_LIMIT),
            uid=shown(details.uid),
            causes=tuple(
                msgspec.structs.replace(cause, message=_shown_message(cause.message)) for cause in details.causes
            ),
        )
    return msgspec.structs.replace(status, message=_shown_message(status.message), details=details)


def _shown_message(message: str) -> str:
    return "\n".join(shown(line, MESSAGE_LIMIT) for line in message[:MESSAGE_LIMIT].split("\n"))


def bounded_warnings(warnings: tuple[str, ...]) -> tuple[str, ...]:
    """Cut warnings to what the API server passes on, so that what is lost is lost visibly.

    Args:
        warnings: As many and as long as they come; control characters are not allowed in the header that carries
            them and become spaces.

    Returns:
        Warnings of at most `WARNING_LIMIT` characters, together at most `WARNINGS_LIMIT`.
    """
    kept: list[str] = []
    total = 0
    for warning in dict.fromkeys(warnings):
        line = "".join(character if character.isprintable() else " " for character in warning)
        if len(line) > WARNING_LIMIT:
            line = line[: WARNING_LIMIT - 1] + "…"
        if total + len(line) > WARNINGS_LIMIT - WARNING_LIMIT and len(kept) < len(warnings) - 1:
            kept.append(f"and {len(warnings) - len(kept)} more warnings")
            break
        kept.append(line)
        total += len(line)
    return tuple(kept)
