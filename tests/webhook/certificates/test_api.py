"""Calls for `certs`: bounded, and with errors that it understands."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from certs.errors import ApiUnavailableError
from webhook.admission.deadline import Deadline
from webhook.certificates.api import CertificateApi
from webhook.clients.api import Reply
from webhook.errors import DeadlineExceededError, KubernetesError


class Fake:
    """Answers as it is told to, and remembers what it was asked."""

    def __init__(self, answer: Reply | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, bytes | None, str]] = []
        self.seconds = 0.0

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
        """A write."""
        assert query is None
        return self._reply((method, path, body, content_type), deadline)

    def _reply(self, asked: tuple[str, str, bytes | None, str], deadline: Deadline) -> Reply:
        self.asked.append(asked)
        self.seconds = deadline.remaining()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_an_answer_is_passed_on_whatever_it_says() -> None:
    """An error status is an answer; each call has ten seconds."""
    fake = Fake(Reply(409, b"{}"))
    api = CertificateApi(fake)
    assert await api.get("/a?b=c") == (409, b"{}")
    assert await api.request("PATCH", "/a", b"[]", "application/json-patch+json") == (409, b"{}")
    assert fake.asked == [
        ("GET", "/a?b=c", None, "application/json"),
        ("PATCH", "/a", b"[]", "application/json-patch+json"),
    ]
    assert 9 < fake.seconds <= 10


@pytest.mark.parametrize("error", [KubernetesError("no route"), DeadlineExceededError("too late")])
async def test_no_answer_is_told_in_the_words_of_certs(error: Exception) -> None:
    """So that its loops wait and try again."""
    api = CertificateApi(Fake(error))
    with pytest.raises(ApiUnavailableError, match=str(error)):
        await api.get("/a")
    with pytest.raises(ApiUnavailableError, match=str(error)):
        await api.request("POST", "/a", b"", "application/json")
