"""The errors of this package: each class knows the HTTP status and the Kubernetes reason that it answers with.

An error that is none of these is a defect; it is logged with its traceback and never shown to a user.
"""

from __future__ import annotations

from typing import ClassVar


class RollonceError(Exception):
    """The root of every error that rollonce raises on purpose.

    Attributes:
        code: The HTTP status that tells of it.
        reason: The machine-readable reason (`metav1.StatusReason`).
    """

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"


class ConfigurationError(RollonceError):
    """A setting is wrong; the message names the setting, where it came from and what is allowed."""


class MalformedReviewError(RollonceError):
    """The body is no AdmissionReview v1 that we can read: the caller is at fault."""

    code: ClassVar[int] = 400
    reason: ClassVar[str] = "BadRequest"


class DeadlineExceededError(RollonceError):
    """The time that the caller gave is over."""

    code: ClassVar[int] = 504
    reason: ClassVar[str] = "Timeout"


class DependencyError(RollonceError):
    """Something that we need did not answer as it should: the API server or Redis."""

    code: ClassVar[int] = 503
    reason: ClassVar[str] = "ServiceUnavailable"


class KubernetesError(DependencyError):
    """The API server could not be reached or did not answer in time."""


class StoreError(DependencyError):
    """The deduplication store could not be reached or did not answer in time."""
