"""A request that is answered with an HTTP status instead of a review."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs

#: With 429 and 503 the API server calls again, with the same uid, where the answer says when.
RETRY_AFTER: Final[dict[str, str]] = {hdrs.RETRY_AFTER: "1"}


class HttpError(Exception):
    """The request is answered with a status and one line of text.

    Args:
        status: The HTTP status.
        message: What was wrong, for whoever sent it and for the log.
        headers: Added to the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
