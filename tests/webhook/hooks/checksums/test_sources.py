"""What the API server's answers mean."""

import pytest

from webhook.clients.api import Reply
from webhook.hooks.checksums.core.digest import checksum
from webhook.hooks.checksums.core.facts import Absent, Found, Reading, Unreadable
from webhook.hooks.checksums.sources import SourceObject, understand

UNKNOWN = Unreadable("an answer that is no Secret or ConfigMap")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"data":{"a":"eA=="},"metadata":{"annotations":{"x":1}}}', Found(checksum({"a": "eA=="}, None))),
        (200, b'{"data":null,"binaryData":{"b":"eA=="}}', Found(checksum(None, {"b": "eA=="}))),
        (200, b'{"metadata":{"resourceVersion":"7"}}', Found(checksum(None, None))),
        (200, b"{}", Found(checksum(None, None))),
        (404, b"anything", Absent()),
        (403, b"{}", Unreadable("HTTP 403")),
        (429, b"{}", Unreadable("HTTP 429")),
        (503, b"{}", Unreadable("HTTP 503")),
        (302, b"{}", Unreadable("HTTP 302")),
        (200, b'{"data":{"a":"hunter2', UNKNOWN),
        (200, b'{"data":["hunter2"]}', UNKNOWN),
        (200, b'{"data":{"a":"\xff"}}', UNKNOWN),
        (200, b"", UNKNOWN),
    ],
)
def test_only_a_404_means_absent(status: int, body: bytes, expected: Reading) -> None:
    """Everything else that is no object means that nobody knows, and quotes nothing."""
    assert understand(Reply(status, body), None).reading == expected


def test_contents_are_never_shown() -> None:
    """Not even by accident, in a traceback or a debugger's log."""
    assert "hunter2" not in repr(SourceObject(data={"password": "hunter2"}))


def test_a_mebibyte_is_understood() -> None:
    """The largest Secret there can be."""
    value = "QUJD" * (2**20 // 4)
    body = b'{"data":{"large":"%s"}}' % value.encode()
    assert understand(Reply(200, body), None).reading == Found(checksum({"large": value}, None))


def test_the_version_is_told() -> None:
    """Who remembers a checksum has to know of which version it is."""
    assert understand(Reply(200, b'{"metadata":{"resourceVersion":"7"}}'), None).version == "7"
    assert understand(Reply(404, b"{}"), None).version == ""
