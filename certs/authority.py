"""Certificate authorities and serving certificates: ECDSA P-256, short-lived, limited to one Service.

Pure, except for the keys and serial numbers that `cryptography` draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.errors import KeyMismatchError, NamesError, PemError, ValidityError
from certs.names import ServingNames
from certs.pem import KeyPair, decode_certificates, decode_key

#: How long before `now` validity begins, so that a machine whose clock is behind accepts a new certificate.
BACKDATE: Final = timedelta(hours=1)

_ALL_ADDRESSES: Final = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority (CA): a self-signed certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def identity(self) -> str:
        """SHA-256 of the certificate in hex; safe to log."""
        return fingerprint(self.certificate)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the DER form, 64 hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def new_authority(names: ServingNames, *, now: datetime, lifetime: timedelta) -> Authority:
    """Return a new CA that can sign serving certificates for these names and nothing else.

    Path length 0 and name constraints (RFC 5280, 4.2.1.9 and 4.2.1.10) make a stolen key useless for any other server.

    Args:
        names: The names that its serving certificates may have.
        now: The time, with a time zone.
        lifetime: From `now` to the end of its validity.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Each CA has its own subject, because verifiers find issuers by subject.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "rollonce"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"admission CA {serial:040x}"[:53]),
        ]
    )
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(serial)
        .not_valid_before(_whole_seconds(now - BACKDATE))
        .not_valid_after(_whole_seconds(now + lifetime))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_constraints(names), critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def issue_leaf(authority: Authority, names: ServingNames, *, now: datetime, lifetime: timedelta) -> KeyPair:
    """Return a serving certificate with a new key, valid no longer than its CA.

    One name that the CA does not permit would make the whole certificate invalid (RFC 5280, 6.1.3), so such names are
    left out until a CA that permits them signs.

    Args:
        authority: The CA that signs.
        names: The subject alternative names; those that the CA does not permit are left out.
        now: The time, with a time zone.
        lifetime: From `now` to the end of its validity, unless the CA ends earlier.

    Returns:
        A chain of the leaf alone: clients have the CA in their bundle.

    Raises:
        ValidityError: The CA is not valid at `now`.
        NamesError: The CA permits none of the names.
    """
    ca = authority.certificate
    check_validity(ca, now=now, what="the CA")
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = _permitted_alternatives(ca, names)
    if not alternatives:
        raise NamesError(f"the CA does not permit {names.api_server_name}; it was made for another Service")
    # No common name: it may have 64 characters only, and the DNS name of a Service can be longer.
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "rollonce")])
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=ca.subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(_whole_seconds(now - BACKDATE), ca.not_valid_before_utc))
        .not_valid_after(min(_whole_seconds(now + lifetime), ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    return KeyPair((builder.sign(authority.key, hashes.SHA256()),), key)


def decode_authority(certificate_pem: bytes, key_pem: bytes, *, what: str) -> Authority:
    """Decode a CA that `new_authority` made.

    Raises:
        PemError: It is malformed, more than one certificate, not a CA, or not an ECDSA key.
        KeyMismatchError: The key belongs to another certificate.
    """
    certificates = decode_certificates(certificate_pem, what=f"{what} certificate")
    key = decode_key(key_pem, what=f"{what} key")
    if len(certificates) != 1 or not is_authority(certificates[0]):
        raise PemError(f"{what}: expected exactly one CA certificate")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PemError(f"{what}: expected an ECDSA key")
    if certificates[0].public_key() != key.public_key():
        raise KeyMismatchError(f"{what}: the key does not belong to the certificate")
    return Authority(certificates[0], key)


def check_validity(certificate: x509.Certificate, *, now: datetime, what: str) -> None:
    """Check that a certificate is valid at a time.

    Args:
        certificate: The certificate.
        now: The time, with a time zone.
        what: Name of the certificate for the message.

    Raises:
        ValidityError: It is not; the message has the date and what to check.
    """
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < start:
        raise ValidityError(f"{what} is not valid before {start.isoformat()}; check this machine's clock")
    if now > end:
        raise ValidityError(f"{what} expired at {end.isoformat()}; renew it")


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether the basic constraints of a certificate make it a CA."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def permits(certificate: x509.Certificate, names: ServingNames) -> bool:
    """Return whether a CA of `new_authority` may sign for all of these names.

    A CA with other name constraints or none gives False, so that it is replaced.
    """
    required = frozenset(_constraints(names).permitted_subtrees or ())
    return _permitted(certificate) >= required


def _permitted(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(constraints.permitted_subtrees or ())


def _permitted_alternatives(ca: x509.Certificate, names: ServingNames) -> list[x509.GeneralName]:
    permitted = _permitted(ca)
    hosts = [x509.DNSName(name) for name in names.dns_names if x509.DNSName(name) in permitted]
    addresses = [a for a in names.addresses if x509.IPAddress(ip_network(a)) in permitted]
    return [*hosts, *(x509.IPAddress(address) for address in addresses)]


def _constraints(names: ServingNames) -> x509.NameConstraints:
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names.dns_names]
    permitted += [x509.IPAddress(ip_network(address)) for address in names.addresses]
    return x509.NameConstraints(permitted, list(_excluded(names)) or None)


def _excluded(names: ServingNames) -> Iterator[x509.GeneralName]:
    # A type of name that no permitted subtree mentions is unrestricted (RFC 5280, 4.2.1.10): if no address is
    # permitted, all of them have to be excluded.
    if not names.addresses:
        yield from (x509.IPAddress(network) for network in _ALL_ADDRESSES)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _whole_seconds(moment: datetime) -> datetime:
    # X.509 times have no fractions.
    return moment.astimezone(UTC).replace(microsecond=0)
