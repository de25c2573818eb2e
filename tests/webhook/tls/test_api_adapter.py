"""Calls for `certs`: each has a time limit, and errors are those of `certs`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from certs.errors import ApiUnavailableError
from webhook.errors import DeadlineExceededError, KubernetesError
from webhook.kube.api import Reply
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.tls.api_adapter import ApiAdapter


class Fake:
    """An API server that always answers the same, and records its calls."""

    def __init__(self, answer: Reply | Exception) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str, bytes | None, str]] = []
        self.seconds = 0.0

    def server_time(self) -> float:
        """Return an unknown time."""
        return 0.0

    async def get(
        self, path: str, deadline: Deadline, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Reply:
        """GET."""
        assert query is None
        return self._reply(("GET", path, None, accept), deadline)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        """Write."""
        assert query is None
        return self._reply((method, path, body, content_type), deadline)

    def _reply(self, call: tuple[str, str, bytes | None, str], deadline: Deadline) -> Reply:
        self.calls.append(call)
        self.seconds = deadline.remaining()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_every_reply_is_returned() -> None:
    """An error status is a reply; each call has ten seconds."""
    fake = Fake(Reply(409, b"{}"))
    api = ApiAdapter(fake, Clock())
    assert await api.get("/a?b=c") == (409, b"{}")
    assert await api.request("PATCH", "/a", b"[]", "application/json-patch+json") == (409, b"{}")
    assert fake.calls == [
        ("GET", "/a?b=c", None, "application/json"),
        ("PATCH", "/a", b"[]", "application/json-patch+json"),
    ]
    assert 9 < fake.seconds <= 10


@pytest.mark.parametrize("error", [KubernetesError("no route"), DeadlineExceededError("too late")])
async def test_no_reply_is_an_error_of_certs(error: Exception) -> None:
    """Its loops wait and try again."""
    api = ApiAdapter(Fake(error), Clock())
    with pytest.raises(ApiUnavailableError, match=str(error)):
        await api.get("/a")
    with pytest.raises(ApiUnavailableError, match=str(error)):
        await api.request("POST", "/a", b"", "application/json")
