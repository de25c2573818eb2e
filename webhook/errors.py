"""The errors of this package, by whose fault they are; each branch is caught in one place.

| branch | meaning | command line | admission server |
|---|---|---|---|
| `InputError` | a user or a caller gave something wrong | exit 1 or 2 | HTTP 4xx |
| `RejectedError` | the request is valid but the present state forbids it | exit 1 | none |
| `DependencyError` | the API server or Redis did not answer as expected | exit 1 | HTTP 503 |
| `DataError` | stored data cannot be understood | exit 1 | HTTP 500 |
| `DeadlineExceededError` | the caller's time is over | exit 1 | HTTP 504 |

`certs.errors.CertificateError` is a further branch of the same root. An error outside of this tree is a defect: it is
logged with its traceback and never shown to a user.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from certs.errors import RollonceError

__all__ = [
    "ConfigurationError",
    "DataError",
    "DeadlineExceededError",
    "DependencyError",
    "InputError",
    "KubernetesError",
    "MalformedReviewError",
    "RejectedError",
    "RequestError",
    "RollonceError",
    "StoreError",
]


class InputError(RollonceError):
    """A user or a caller gave something wrong; the message says what is allowed."""


class ConfigurationError(InputError):
    """A setting or an option is wrong; the message names it, where it came from and what is allowed."""


class MalformedReviewError(InputError):
    """A request body is not an AdmissionReview v1 that can be read."""


class RequestError(InputError):
    """An HTTP request is answered with an error status instead of an AdmissionReview.

    Attributes:
        status: The HTTP status.
        message: What was wrong, for the caller and for the log.
        headers: Added to the response.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or MappingProxyType({})


class RejectedError(RollonceError):
    """A command is valid, but the present state does not allow it."""


class DependencyError(RollonceError):
    """The API server or Redis did not answer as expected."""


class KubernetesError(DependencyError):
    """The API server could not be reached, did not answer in time, or refused the request."""


class StoreError(DependencyError):
    """The deduplication store could not be reached or did not answer in time."""


class DataError(RollonceError):
    """Stored data cannot be understood: it is damaged, or a newer release wrote it."""


class DeadlineExceededError(RollonceError):
    """The time allowed by the caller is over."""
