"""The calls to the Kubernetes API server that this package needs, and the errors that replies stand for."""

from typing import Protocol, TypeVar

import msgspec

from certs.errors import ApiRefusedError, ApiUnavailableError, CertificateError, ConflictError

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

T = TypeVar("T")


class CertificateApi(Protocol):
    """Calls to the API server: a path (with its query) and bytes in, HTTP status and body out.

    Both methods have a time limit of their own. They raise `ApiUnavailableError` if there is no reply; an HTTP error
    status is a reply.
    """

    async def get(self, path: str) -> tuple[int, bytes]:
        """GET a path as a quorum read, that is, without a `resourceVersion` in the query."""

    async def request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        """POST, PUT or PATCH; never repeated automatically."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """Name and version of an object."""

    name: str
    resource_version: str


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""


def error_of(status: int, body: bytes, *, action: str) -> CertificateError:
    """Return the error for a reply of the API server.

    Args:
        status: An HTTP status that is not a success.
        body: The reply, usually a `Status` object.
        action: What was tried, for the message: "reading the Secret a/b".
    """
    try:
        reply = msgspec.json.decode(body, type=_Status)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        reply = _Status()
    if status == 409:
        return ConflictError(f"{action}: another writer wrote first")
    if status == 429 or status >= 500:
        return ApiUnavailableError(f"{action}: the API server answered {status}; trying again")
    # The message about a rejected write can quote what was written, so it is only used where it cannot: for missing
    # rights and missing objects.
    detail = reply.message if status in (401, 403, 404) else reply.reason
    return ApiRefusedError(f"{action}: the API server answered {status} {detail}".rstrip(), status=status)


def decode_reply(body: bytes, object_type: type[T], *, action: str) -> T:
    """Decode the needed fields of a successful reply.

    Args:
        body: The reply.
        object_type: A struct of these fields.
        action: What was tried, for the message.

    Raises:
        ApiRefusedError: They are missing.
    """
    try:
        return msgspec.json.decode(body, type=object_type)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ApiRefusedError(f"{action}: the reply is not what Kubernetes sends", status=200) from None
