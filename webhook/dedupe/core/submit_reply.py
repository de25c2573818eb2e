"""What `rollonce submit` does about a reply to a create, and about the phase of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

import msgspec

from webhook.admission.text import shown
from webhook.dedupe.core.run import Resource

#: How much of a message of the API server is shown.
_MESSAGE_LENGTH: Final = 700
_MISMATCH: Final = "PayloadMismatch"
_SUCCEEDED: Final = frozenset({"succeeded", "completed"})
_FAILED: Final = frozenset({"failed", "error", "cancelled", "canceled"})


@dataclass(frozen=True, slots=True)
class Created:
    """The run was created; the reply is the run."""


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """The delivery has its run, or the name is taken.

    Attributes:
        name: The run's name.
        uid: Its uid, if the webhook has answered; empty if storage has, which compares nothing but names.
        mismatch: Whether the webhook has found other parameters.
        message: The message of the answer.
    """

    name: str
    uid: str
    mismatch: bool
    message: str

    @property
    def compared(self) -> bool:
        """Whether the webhook has answered, which knows that the run is that of the delivery."""
        return bool(self.uid) or self.mismatch


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing is known yet: send the same again.

    Attributes:
        reason: Why, as part of a sentence.
        seconds: How long the answer asks to wait; 0 if it does not say.
        maybe_stored: Whether the create may have been stored all the same.
    """

    reason: str
    seconds: int = 0
    maybe_stored: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """Sending the same again is of no use.

    Attributes:
        message: Why.
    """

    message: str


CreateAnswer: TypeAlias = Created | AlreadyThere | Later | Refused


class RunEnd(Enum):
    """How a run has ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class _Cause(msgspec.Struct, frozen=True):
    reason: str = ""


class _Details(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    kind: str = ""
    uid: str = ""
    causes: list[_Cause] | None = None
    retry_after_seconds: int = 0


class _Status(msgspec.Struct, frozen=True):
    """An error of the API server. Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/."""

    message: str = ""
    reason: str = ""
    details: _Details | None = None


def create_answer(status: int, body: bytes, retry_after: int | None, resource: Resource) -> CreateAnswer:
    """Return what the reply to a create means.

    Args:
        status: The HTTP status.
        body: The body.
        retry_after: The header `Retry-After`.
        resource: What was created.
    """
    if 200 <= status < 300:
        return Created()
    if later := later_of(status, body, retry_after):
        return later
    found = _status(body)
    details = found.details or _Details()
    mismatch = any(cause.reason == _MISMATCH for cause in details.causes or ())
    if details.name and ((status == 409 and found.reason == "AlreadyExists") or (status == 422 and mismatch)):
        return AlreadyThere(details.name, details.uid, mismatch, _message(status, found))
    return Refused(refusal(status, body, resource))


def later_of(status: int, body: bytes, retry_after: int | None) -> Later | None:
    """Return what to wait for if a reply is one to any request that may succeed later; None if it is not.

    A webhook that cannot be called gives 500, a quota that changes meanwhile 409 `Conflict`.
    """
    found = _status(body)
    if status < 500 and status not in {408, 429} and (status, found.reason) != (409, "Conflict"):
        return None
    wanted = found.details.retry_after_seconds if found.details else 0
    return Later(_answered(status, found), max(0, wanted, retry_after or 0), maybe_stored=status not in {409, 429})


def refusal(status: int, body: bytes, resource: Resource) -> str:
    """Return the message of a reply that is an error, as one sentence."""
    found = _status(body)
    if status == 404 and not (found.details and found.details.kind):
        return (
            f"The CustomResourceDefinition {resource.plural}.{resource.group} is not installed, or does not serve the "
            f"version {resource.version}."
        )
    text = _answered(status, found)
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def end_of(phase: str) -> RunEnd | None:
    """Return how a run of this phase has ended; None if it has not."""
    word = phase.casefold()
    return RunEnd.SUCCEEDED if word in _SUCCEEDED else RunEnd.FAILED if word in _FAILED else None


def _answered(status: int, found: _Status) -> str:
    message = _message(status, found)
    return f"the API server answered {status}{message and ': '}{message}"


def _message(status: int, found: _Status) -> str:
    # Without a message, 401 is the one that needs an explanation.
    return shown(found.message, _MESSAGE_LENGTH) or ("it does not know the credentials" if status == 401 else "")


def _status(body: bytes) -> _Status:
    try:
        return msgspec.json.decode(body, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Status()
