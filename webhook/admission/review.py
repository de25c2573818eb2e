"""Decoding of an `AdmissionReview` request: only the fields that a webhook needs are read.

Each webhook names the struct of the object that it wants to see. Everything else in the body is skipped by the
decoder without being made into Python objects, which is what keeps a 3 MiB review cheap.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Generic, TypeVar

import msgspec

from webhook.errors import MalformedReviewError

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"

ObjectT = TypeVar("ObjectT")

#: The most bytes of Python objects that a decoder makes of a list or object, of a further member, and of a string,
#: beside its characters. Measured; dicts while they grow are the worst.
_BRACKET_BYTES: Final = 72
_COMMA_BYTES: Final = 48
_QUOTE_BYTES: Final = 32

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_NAME_LENGTH: Final = 253
_KIND_LENGTH: Final = 63
_UID_LENGTH: Final = 128


class Operation(Enum):
    """What the request wants to do."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


class GroupVersionKind(msgspec.Struct, frozen=True):
    """The type of the object under review."""

    group: str = ""
    version: str = ""
    kind: str = ""


class UserInfo(msgspec.Struct, frozen=True):
    """Who sent the request; groups and extra are not needed."""

    username: str = ""


class WriteOptions(msgspec.Struct, frozen=True, rename="camel"):
    """The options of the request, such as `UpdateOptions`.

    Attributes:
        field_manager: The writer, as `metadata.managedFields` shows it.
    """

    field_manager: str = ""


class AdmissionRequest(msgspec.Struct, Generic[ObjectT], frozen=True, rename="camel"):
    """The part of `AdmissionRequest` that decisions are made from.

    Attributes:
        uid: Identifies this call; the answer echoes it. A client's retry has another one.
        kind: The type of the object.
        operation: What is being done.
        name: The object's name; empty for a create by `generateName`, until the server has made one.
        namespace: The object's namespace.
        object: The object as it would be stored; None for DELETE.
        old_object: The object as it is stored; None for CREATE.
        dry_run: True if nothing will be stored.
        user_info: Who asks.
        options: How the object is written; None for CONNECT.
    """

    uid: str
    operation: Operation
    kind: GroupVersionKind = GroupVersionKind()
    name: str = ""
    namespace: str = ""
    object: ObjectT | None = None
    old_object: ObjectT | None = None
    dry_run: bool | None = None
    user_info: UserInfo = UserInfo()
    options: WriteOptions | None = None

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing may be written anywhere on behalf of this request."""
        return self.dry_run is True


class AdmissionReview(msgspec.Struct, Generic[ObjectT], frozen=True, rename="camel"):
    """The envelope of a request."""

    api_version: str
    kind: str
    request: AdmissionRequest[ObjectT] | None = None


class ReviewDecoder(Generic[ObjectT]):
    """Decodes the reviews of one type of object; build it once, it is not cheap.

    Args:
        object_type: A msgspec struct with the fields of the object that are needed.
    """

    def __init__(self, object_type: type[ObjectT]) -> None:
        # mypy cannot see that a generic struct may be given a type held in a variable.
        self._decoder: msgspec.json.Decoder[AdmissionReview[ObjectT]] = msgspec.json.Decoder(
            AdmissionReview[object_type]  # type: ignore[valid-type]
        )

    def decode(self, body: bytes) -> AdmissionRequest[ObjectT]:
        """Read one review.

        Args:
            body: The JSON of an `AdmissionReview`.

        Returns:
            Its request.

        Raises:
            MalformedReviewError: It is not JSON, not a review of version v1, or a needed field has the wrong type. The
                message names the field, never its value.
        """
        try:
            review = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedReviewError(f"The body is not a readable AdmissionReview: {describe(error)}") from None
        if review.api_version != API_VERSION or review.kind != KIND:
            raise MalformedReviewError(f"Expected {KIND} of {API_VERSION}; this webhook speaks no other version.")
        if review.request is None:
            raise MalformedReviewError("The AdmissionReview has no request.")
        if not review.request.uid:
            raise MalformedReviewError("The request has no uid.")
        _check_names(review.request)
        return review.request


def decoded_size(body: bytes) -> int:
    """Return the most bytes that the Python objects decoded from a body can take, beside its characters.

    `[[],[],…]` takes thirty times its length. The estimate is too high for parts that are skipped, but it is made in
    no time, and before anything is decoded.
    """
    brackets = body.count(b"[") + body.count(b"{")
    return _BRACKET_BYTES * brackets + _COMMA_BYTES * body.count(b",") + _QUOTE_BYTES * body.count(b'"')


def is_path_segment(name: str) -> bool:
    """Return whether a name can be that of an object: it is one segment of a URL's path, and can be shown.

    Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names
    """
    return 0 < len(name) <= _NAME_LENGTH and name not in {".", ".."} and not {"/", "%"} & {*name} and name.isprintable()


def _check_names(request: AdmissionRequest[ObjectT]) -> None:
    """Refuse what no API server sends, before it reaches a URL, a log or a metric.

    Raises:
        MalformedReviewError: The message names the field, never its value.
    """
    kind = request.kind
    wrong = {
        "uid": len(request.uid) > _UID_LENGTH or not request.uid.isprintable(),
        "kind": any(len(part) > _KIND_LENGTH or not part.isprintable() for part in (kind.version, kind.kind))
        or len(kind.group) > _NAME_LENGTH
        or not kind.group.isprintable(),
        "name": request.name != "" and not is_path_segment(request.name),
        "namespace": request.namespace != "" and not _NAMESPACE.fullmatch(request.namespace),
    }
    for field, is_wrong in wrong.items():
        if is_wrong:
            raise MalformedReviewError(f"The request's {field} is not one that the API server sends.")


def describe(error: Exception) -> str:
    """Say what was wrong with a body without repeating any of its values.

    Args:
        error: What the decoder raised. msgspec's messages name a path and types; a message about an enum or a
            tag would repeat the value, so what stands in quotes there is left out.
    """
    if isinstance(error, msgspec.ValidationError):
        message = str(error)
        if message.startswith("Invalid enum value"):
            _, _, path = message.partition(" - at ")
            return f"Invalid enum value - at {path}"
        return message
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return "it is not JSON"
