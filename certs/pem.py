"""Certificates and keys as PEM, with errors that say which part is wrong."""

from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from certs.errors import KeyMismatchError, PemError

#: The types of key that a TLS server can use.
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain, leaf first, and the private key of the leaf.

    Create it with `decode_pair`, which checks that the two belong together, or from parts that were made together.
    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)

    @property
    def leaf(self) -> x509.Certificate:
        """The server's own certificate."""
        return self.chain[0]

    @property
    def chain_pem(self) -> bytes:
        """The chain as PEM, leaf first."""
        return encode_certificates(self.chain)

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM; write it nowhere but into the CA Secret or a TLS context."""
        return encode_key(self.key)


def encode_certificates(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """Return one PEM block for each certificate, in the order given."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def encode_key(key: PrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def decode_certificates(pem: bytes, *, what: str) -> tuple[x509.Certificate, ...]:
    """Decode all certificates in a PEM text.

    Args:
        pem: PEM blocks; text between them is allowed, as in RFC 7468.
        what: Name of the input for the error message, such as a file name.

    Returns:
        At least one certificate.

    Raises:
        PemError: There is no certificate, or one is cut off or malformed.
    """
    if _BEGIN not in pem:
        raise PemError(f"{what}: no PEM certificate in it")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            # cryptography parses these only when they are read: read them now, so that errors appear here.
            _ = certificate.extensions, certificate.subject, certificate.issuer, certificate.public_key()
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise PemError(f"{what}: a certificate in it is cut off or malformed") from error
    if len(certificates) != pem.count(_BEGIN):
        raise PemError(f"{what}: the last certificate in it is cut off")
    return tuple(certificates)


def decode_key(pem: bytes, *, what: str) -> PrivateKey:
    """Decode one unencrypted private key.

    Raises:
        PemError: It is not a private key, is encrypted or cut off, or is of a type that TLS does not use.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, UnsupportedAlgorithm):
        # `from None`: the text of a parser's error about a key could quote it.
        raise PemError(f"{what}: not a PEM private key, or cut off") from None
    except TypeError:
        raise PemError(f"{what}: the private key is encrypted; give it without a passphrase") from None
    if not isinstance(key, PrivateKey):
        raise PemError(f"{what}: a {type(key).__name__} cannot be used for TLS; use ECDSA, RSA or Ed25519")
    return key


def decode_pair(chain_pem: bytes, key_pem: bytes, *, what: str) -> KeyPair:
    """Decode a chain and its key.

    Raises:
        PemError: One of them is malformed.
        KeyMismatchError: The key is not that of the first certificate.
    """
    chain = decode_certificates(chain_pem, what=f"{what} certificate")
    key = decode_key(key_pem, what=f"{what} private key")
    if chain[0].public_key() != key.public_key():
        raise KeyMismatchError(
            f"{what}: the private key does not belong to the first certificate; "
            "a chain starts with the server's own certificate"
        )
    return KeyPair(chain, key)
