"""What the API server's answers mean."""

import pytest

from certs.api import Metadata, decode_answer, problem
from certs.errors import ApiRefusedError, ApiUnavailableError, CertificateError, ConflictError

SECRET = b'{"message": "Secret \\"x\\" is invalid: data: Invalid value: c2VjcmV0", "reason": "Invalid"}'


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (409, ConflictError),
        (429, ApiUnavailableError),
        (500, ApiUnavailableError),
        (503, ApiUnavailableError),
        (401, ApiRefusedError),
        (403, ApiRefusedError),
        (422, ApiRefusedError),
    ],
)
@pytest.mark.parametrize("body", [SECRET, b"", b"not json", b'"\x80"', b'{"message": "\x80"}', b"[]"])
def test_each_status_has_its_error(status: int, kind: type[CertificateError], body: bytes) -> None:
    """Whatever the body is, and the message begins with what was tried."""
    error = problem(status, body, doing="trying")
    assert type(error) is kind
    assert str(error).startswith("trying: ")


def test_what_was_written_is_not_quoted() -> None:
    """A refusal of a write can contain Secret data; one for want of rights says which right."""
    assert str(problem(422, SECRET, doing="writing")) == "writing: the API server answered 422 Invalid"
    said = str(problem(403, b'{"message": "cannot get"}', doing="reading"))
    assert said == "reading: the API server answered 403 cannot get"


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"name": "\x80", "resourceVersion": "1"}'])
def test_an_answer_of_something_else_is_named(body: bytes) -> None:
    """A proxy's page, say."""
    with pytest.raises(ApiRefusedError, match="trying: the answer is not what Kubernetes answers"):
        decode_answer(body, Metadata, doing="trying")
