"""The API server as `certs` calls it: each call has a time limit of its own, and no error of ours gets there."""

from __future__ import annotations

import time
from typing import Final

from certs.errors import ApiUnavailableError
from webhook.admission.deadline import Deadline
from webhook.clients.api import KubernetesApi
from webhook.errors import DeadlineExceededError, KubernetesError

#: A call that takes longer is better made anew: nobody waits for it.
CALL_SECONDS: Final = 10.0


class CertificateApi:
    """Implements `certs.api.KubernetesApi`.

    Args:
        api: The API server.
        seconds: How long a call may take.
    """

    def __init__(self, api: KubernetesApi, *, seconds: float = CALL_SECONDS) -> None:
        self._api = api
        self._seconds = seconds

    async def get(self, path: str) -> tuple[int, bytes]:
        """GET, as a quorum read.

        Raises:
            ApiUnavailableError: No answer came in time.
        """
        try:
            reply = await self._api.get(path, self._deadline())
        except (KubernetesError, DeadlineExceededError) as error:
            raise ApiUnavailableError(str(error)) from None
        return reply.status, reply.body

    async def request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        """POST, PUT or PATCH; never repeated by itself.

        Raises:
            ApiUnavailableError: No answer came in time; whether it was written is unknown.
        """
        try:
            reply = await self._api.send(method, path, body, self._deadline(), content_type=content_type)
        except (KubernetesError, DeadlineExceededError) as error:
            raise ApiUnavailableError(str(error)) from None
        return reply.status, reply.body

    def _deadline(self) -> Deadline:
        return Deadline.after(self._seconds, time.monotonic)
