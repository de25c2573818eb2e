"""What can go wrong with a certificate, a bundle or the Secret that holds them.

Each class knows the `reason` that logs and metrics use; the message says what happened and what to do. Messages never
contain key material.
"""

from typing import ClassVar


class CertificateError(Exception):
    """Base of every error of this package."""

    reason: ClassVar[str] = "CertificateError"


class NamesError(CertificateError):
    """A service name, namespace, cluster domain or address that no certificate can be made for."""

    reason = "InvalidNames"


class PemError(CertificateError):
    """PEM data that is empty, cut off, of the wrong kind, or not PEM at all."""

    reason = "InvalidPem"


class KeyMismatchError(CertificateError):
    """A private key that does not belong to its certificate."""

    reason = "KeyMismatch"


class ValidityError(CertificateError):
    """A certificate that has expired or is not valid yet."""

    reason = "NotValidNow"


class UntrustedError(CertificateError):
    """A leaf that does not chain to the bundle, or not for the name asked."""

    reason = "Untrusted"


class UnreadableError(CertificateError):
    """A certificate file or Secret that cannot be read."""

    reason = "Unreadable"


class TlsError(CertificateError):
    """A pair that OpenSSL refuses though its parts are well formed."""

    reason = "TlsRefused"


class SecretError(CertificateError):
    """A CA Secret whose content cannot be understood."""

    reason = "InvalidSecret"


class FormatError(CertificateError):
    """A CA Secret that a later version of this program wrote: leave it alone, and upgrade."""

    reason = "LaterFormat"


class ConflictError(CertificateError):
    """Somebody else wrote first: read again and decide anew."""

    reason = "Conflict"


class ApiUnavailableError(CertificateError):
    """The API server could not be reached, or answered 429 or 5xx: try again later."""

    reason = "ApiUnavailable"


class ApiRefusedError(CertificateError):
    """The API server answered with an error that trying again does not mend.

    Attributes:
        status: The HTTP status.
    """

    reason = "ApiRefused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class SettingsError(CertificateError):
    """Lifetimes that cannot work together."""

    reason = "InvalidSettings"
