"""The errors for replies of the API server."""

import pytest

from certs.api import Metadata, decode_reply, error_of
from certs.errors import ApiRefusedError, ApiUnavailableError, CertificateError, ConflictError

SECRET = b'{"message": "Secret \\"x\\" is invalid: data: Invalid value: c2VjcmV0", "reason": "Invalid"}'


@pytest.mark.parametrize(
    ("status", "error_type"),
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
def test_each_status_has_its_error(status: int, error_type: type[CertificateError], body: bytes) -> None:
    """The error does not depend on the body, and its message begins with what was tried."""
    error = error_of(status, body, action="trying")
    assert type(error) is error_type
    assert str(error).startswith("trying: ")


def test_what_was_written_is_not_quoted() -> None:
    """The message about a rejected write can contain Secret data; one about missing rights names the right."""
    assert str(error_of(422, SECRET, action="writing")) == "writing: the API server answered 422 Invalid"
    message = str(error_of(403, b'{"message": "cannot get"}', action="reading"))
    assert message == "reading: the API server answered 403 cannot get"


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"name": "\x80", "resourceVersion": "1"}'])
def test_a_reply_that_is_not_an_object_is_an_error(body: bytes) -> None:
    """For example the error page of a proxy."""
    with pytest.raises(ApiRefusedError, match="trying: the reply is not what Kubernetes sends"):
        decode_reply(body, Metadata, action="trying")
