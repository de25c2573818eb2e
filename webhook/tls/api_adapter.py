"""The API server as `certs` calls it: each call has a time limit, and errors are those of `certs`."""

from __future__ import annotations

from typing import Final

from certs.errors import ApiUnavailableError
from webhook.errors import DeadlineExceededError, KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

#: Time for one call; the callers repeat a call that takes longer.
CALL_SECONDS: Final = 10.0


class ApiAdapter:
    """Implements `certs.api.CertificateApi`.

    Args:
        api: The API server.
        clock: A monotonic clock.
        seconds: Time for one call.
    """

    def __init__(self, api: KubernetesApi, clock: Clock, *, seconds: float = CALL_SECONDS) -> None:
        self._api = api
        self._clock = clock
        self._seconds = seconds

    async def get(self, path: str) -> tuple[int, bytes]:
        """GET a path as a quorum read.

        Raises:
            ApiUnavailableError: There was no reply in time.
        """
        try:
            reply = await self._api.get(path, self._deadline())
        except (KubernetesError, DeadlineExceededError) as error:
            raise ApiUnavailableError(str(error)) from None
        return reply.status, reply.body

    async def request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        """POST, PUT or PATCH; never repeated automatically.

        Raises:
            ApiUnavailableError: There was no reply in time; it is unknown whether the write happened.
        """
        try:
            reply = await self._api.send(method, path, body, self._deadline(), content_type=content_type)
        except (KubernetesError, DeadlineExceededError) as error:
            raise ApiUnavailableError(str(error)) from None
        return reply.status, reply.body

    def _deadline(self) -> Deadline:
        return self._clock.deadline(self._seconds)
