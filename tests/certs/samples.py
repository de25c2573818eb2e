"""Certificates of every type that the tests need; each call makes a new one."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from certs.authority import Authority, fingerprint, issue_leaf, new_authority
from certs.bundle import Bundle
from certs.names import ServingNames
from certs.pem import KeyPair

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
YEAR = timedelta(days=365)
DAY = timedelta(days=1)
NAMES = ServingNames("rollonce", "prod")
LOCAL = ServingNames("rollonce", "prod", hosts=("localhost",), addresses=(ip_address("127.0.0.1"),))


def authority(*, names: ServingNames = NAMES, now: datetime = NOW, lifetime: timedelta = YEAR) -> Authority:
    """Return a CA."""
    return new_authority(names, now=now, lifetime=lifetime)


def pair(ca: Authority, *, names: ServingNames = NAMES, now: datetime = NOW, lifetime: timedelta = DAY) -> KeyPair:
    """Return a leaf with its key."""
    return issue_leaf(ca, names, now=now, lifetime=lifetime)


def identities(bundle: Bundle) -> frozenset[str]:
    """Return the fingerprints of the certificates in a bundle."""
    return frozenset(map(fingerprint, bundle.certificates))


def foreign(
    *,
    now: datetime = NOW,
    lifetime: timedelta = YEAR,
    dns_names: tuple[str, ...] = (),
    use_rsa: bool = False,
    ca: bool | None = None,
) -> KeyPair:
    """Return a self-signed certificate with few extensions, as users make them by hand."""
    key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if use_rsa
        else ec.generate_private_key(ec.SECP256R1())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "by hand")])
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + lifetime)
    )
    if dns_names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names])
        builder = builder.add_extension(alternatives, critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return KeyPair((builder.sign(key, hashes.SHA256()),), key)


def stolen(ca: Authority, *alternatives: x509.GeneralName) -> KeyPair:
    """Return a leaf for any names, as someone with a stolen CA key can make it."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder(
            subject_name=x509.Name([]), issuer_name=ca.certificate.subject, public_key=key.public_key()
        )
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
    )
    return KeyPair((builder.sign(ca.key, hashes.SHA256()),), key)
