"""CA bundles: decode and merge them, and check whether a client that has one accepts a server.

Bundles are kept in one canonical order, so that two writers of the same set write the same bytes and merging is
commutative, associative and idempotent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    Subject,
    VerificationError,
)

from certs.authority import check_validity, fingerprint
from certs.errors import UntrustedError
from certs.pem import decode_certificates, encode_certificates


@dataclass(frozen=True, slots=True)
class Bundle:
    """A set of trusted CA certificates, newest first.

    Create it with `bundle_of` or `parse_bundle`, which sort it.
    """

    certificates: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """The content of a `caBundle` (before base64); empty for an empty bundle."""
        return encode_certificates(self.certificates)

    @property
    def expires(self) -> datetime | None:
        """The earliest end of validity of its certificates; None for an empty bundle."""
        return min((certificate.not_valid_after_utc for certificate in self.certificates), default=None)

    def merge(self, other: "Bundle") -> "Bundle":
        """Return the union of two bundles."""
        return bundle_of((*self.certificates, *other.certificates))

    def valid_at(self, now: datetime) -> "Bundle":
        """Return the certificates that have not expired; one that is not valid yet stays."""
        return Bundle(tuple(c for c in self.certificates if now <= c.not_valid_after_utc))


def bundle_of(certificates: Iterable[x509.Certificate]) -> Bundle:
    """Return a bundle with each certificate once, newest first."""
    return Bundle(tuple(sorted(set(certificates), key=_newest_first)))


def parse_bundle(pem: bytes, *, what: str) -> Bundle:
    """Decode a PEM bundle; a blank text is the empty bundle.

    Raises:
        PemError: It is neither blank nor certificates.
    """
    return bundle_of(decode_certificates(pem, what=what)) if pem.strip() else Bundle()


def check_leaf(chain: tuple[x509.Certificate, ...], bundle: Bundle, *, server_name: str, now: datetime) -> None:
    """Check that a client with this bundle accepts a server with this chain.

    Args:
        chain: The chain that the server sends, leaf first.
        bundle: The CAs that the client trusts.
        server_name: The DNS name or IP address that the client calls.
        now: The time, with a time zone.

    Raises:
        ValidityError: The leaf has expired or is not valid yet.
        UntrustedError: It does not chain to the bundle, a name constraint forbids it, or it is for other names.
    """
    leaf = chain[0]
    check_validity(leaf, now=now, what="the serving certificate")
    if not bundle.certificates:
        raise UntrustedError("the CA bundle is empty, so no serving certificate can be trusted")
    if not is_named(leaf, server_name):
        raise UntrustedError(f"the serving certificate is not for {server_name}")
    if leaf in bundle.certificates:
        # As Go does: a certificate that is itself in the pool is trusted.
        return
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.certificates)))
        .time(now)
        .extension_policies(ca_policy=_ca_policy(), ee_policy=_leaf_policy())
        .build_server_verifier(_subject(server_name))
    )
    try:
        verifier.verify(leaf, list(chain[1:]))
    except VerificationError as error:
        raise UntrustedError(
            f"the serving certificate does not chain to the CA bundle for {server_name}: {error}"
        ) from error


def is_named(leaf: x509.Certificate, server_name: str) -> bool:
    """Return whether a leaf is for a server name.

    Args:
        leaf: A certificate with subject alternative names.
        server_name: A DNS name, which also matches a wildcard of one level, or an IP address.
    """
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    subject = _subject(server_name)
    if isinstance(subject, x509.IPAddress):
        return ip_address(server_name) in names.get_values_for_type(x509.IPAddress)
    host = server_name.lower()
    wildcard = f"*.{host.partition('.')[2]}"
    return any(name.lower() in (host, wildcard) for name in names.get_values_for_type(x509.DNSName))


def _newest_first(certificate: x509.Certificate) -> tuple[float, str]:
    return (-certificate.not_valid_before_utc.timestamp(), fingerprint(certificate))


def _subject(server_name: str) -> Subject:
    try:
        return x509.IPAddress(ip_address(server_name))
    except ValueError:
        return x509.DNSName(server_name)


def _ca_policy() -> ExtensionPolicy:
    # Require no more of a CA than Go, and therefore the API server, does: CAs that users provide are often older than
    # the rules of the public web.
    policy = ExtensionPolicy.webpki_defaults_ca()
    for extension in (x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier, x509.KeyUsage):
        policy = policy.may_be_present(extension, Criticality.AGNOSTIC, None)
    return policy


def _leaf_policy() -> ExtensionPolicy:
    policy = ExtensionPolicy.webpki_defaults_ee()
    for extension in (x509.AuthorityKeyIdentifier, x509.SubjectKeyIdentifier, x509.BasicConstraints, x509.KeyUsage):
        policy = policy.may_be_present(extension, Criticality.AGNOSTIC, None)
    return policy
