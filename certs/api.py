"""What certificates ask of the Kubernetes API server, and what its answers mean."""

from typing import Protocol, TypeVar

import msgspec

from certs.errors import ApiRefusedError, ApiUnavailableError, CertificateError, ConflictError

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

T = TypeVar("T")


class KubernetesApi(Protocol):
    """Calls to the API server: a path (with its query) and bytes in, HTTP status and body out.

    Both methods have a time limit of their own, and raise `ApiUnavailableError` where no answer came; an HTTP error
    status is an answer. Reads must be quorum reads, as they are without `resourceVersion` in the query.
    """

    async def get(self, path: str) -> tuple[int, bytes]:
        """GET."""

    async def request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        """POST, PUT or PATCH; never repeated by itself."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The part of an object's metadata that is needed here."""

    name: str
    resource_version: str


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""


def problem(status: int, body: bytes, *, doing: str) -> CertificateError:
    """The error that an answer of the API server stands for.

    Args:
        status: An HTTP status that is no success.
        body: The answer, a `Status` object as a rule.
        doing: What was tried, for the message: "reading the Secret a/b".
    """
    try:
        said = msgspec.json.decode(body, type=_Status)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = _Status()
    if status == 409:
        return ConflictError(f"{doing}: somebody else wrote first")
    if status == 429 or status >= 500:
        return ApiUnavailableError(f"{doing}: the API server answered {status}; trying again")
    # A refusal of a write can quote what was written; of a read or a lack of rights it cannot.
    detail = said.message if status in (401, 403, 404) else said.reason
    return ApiRefusedError(f"{doing}: the API server answered {status} {detail}".rstrip(), status=status)


def decode_answer(body: bytes, kind: type[T], *, doing: str) -> T:
    """Reads the fields that are needed from a successful answer.

    Raises:
        ApiRefusedError: They are not there.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ApiRefusedError(f"{doing}: the answer is not what Kubernetes answers", status=200) from None
