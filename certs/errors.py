"""What can go wrong with a certificate, a bundle or the Secret that holds them.

The `reason` of each class is used in logs and metrics; the message says what happened and what to do. Messages never
contain key material.
"""

from typing import ClassVar


class RollonceError(Exception):
    """Root of every error that rollonce raises on purpose.

    It is defined here because `certs` is the lower of the two packages and imports nothing of the other.
    """


class CertificateError(RollonceError):
    """Base of every error of this package."""

    reason: ClassVar[str] = "CertificateError"


class NamesError(CertificateError):
    """A Service name, namespace, cluster domain or address for which no certificate can be made."""

    reason = "InvalidNames"


class PemError(CertificateError):
    """PEM data that is empty, cut off, of the wrong type, or not PEM at all."""

    reason = "InvalidPem"


class KeyMismatchError(CertificateError):
    """A private key that does not belong to its certificate."""

    reason = "KeyMismatch"


class ValidityError(CertificateError):
    """A certificate that has expired or is not valid yet."""

    reason = "NotValidNow"


class UntrustedError(CertificateError):
    """A certificate that does not chain to the bundle, or is for other names."""

    reason = "Untrusted"


class UnreadableError(CertificateError):
    """A certificate file or Secret that cannot be read."""

    reason = "Unreadable"


class TlsError(CertificateError):
    """A certificate and key that OpenSSL rejects although both can be parsed, or a TLS handshake that failed."""

    reason = "TlsRefused"


class SecretError(CertificateError):
    """A CA Secret that does not exist or whose content cannot be understood."""

    reason = "InvalidSecret"


class FormatError(CertificateError):
    """A CA Secret that a later version of this program wrote: it must not be changed; upgrade the program."""

    reason = "LaterFormat"


class ConflictError(CertificateError):
    """Another writer wrote first: read and decide again."""

    reason = "Conflict"


class ApiUnavailableError(CertificateError):
    """The API server could not be reached, or answered 429 or 5xx: try again later."""

    reason = "ApiUnavailable"


class ApiRefusedError(CertificateError):
    """The API server answered with an error that another attempt does not change.

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
