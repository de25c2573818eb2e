"""Encoding and decoding of PEM, and the errors about invalid PEM."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import CertificateError, KeyMismatchError, PemError
from certs.pem import decode_certificates, decode_key, decode_pair, encode_certificates
from tests.certs.samples import authority, foreign, pair

CA = authority()
PAIR = pair(CA)
GOOD = PAIR.chain_pem + PAIR.key_pem


def test_a_pair_survives_encoding() -> None:
    """Chain and key are the same after decoding."""
    decoded = decode_pair(PAIR.chain_pem, PAIR.key_pem, what="test")
    assert decoded.chain == PAIR.chain
    assert decoded.key_pem == PAIR.key_pem
    assert decoded.leaf == PAIR.leaf


def test_an_rsa_pair_is_accepted() -> None:
    """Provided certificates are often RSA."""
    made = foreign(use_rsa=True)
    assert decode_pair(made.chain_pem, made.key_pem, what="test").leaf == made.leaf


def test_text_between_the_blocks_is_allowed() -> None:
    """`openssl x509 -text` writes such text."""
    pem = b"Certificate:\n  Data\n" + PAIR.chain_pem + b"\n# the CA\n" + encode_certificates((CA.certificate,))
    assert decode_certificates(pem, what="test") == (PAIR.leaf, CA.certificate)


@pytest.mark.parametrize(
    "pem",
    [b"", b"nonsense", PAIR.key_pem, PAIR.chain_pem[:300], PAIR.chain_pem + PAIR.chain_pem[:200],
     PAIR.chain_pem.replace(b"M", b"!", 1), b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
)  # fmt: skip
def test_an_error_about_certificates_names_the_input(pem: bytes) -> None:
    """The message begins with the name of the file."""
    with pytest.raises(PemError, match=r"^tls\.crt: "):
        decode_certificates(pem, what="tls.crt")


@pytest.mark.parametrize("pem", [b"", b"nonsense", PAIR.chain_pem, PAIR.key_pem[:100]])
def test_an_error_about_a_key_names_the_input(pem: bytes) -> None:
    """The parser's message, which could quote the key, is not repeated."""
    with pytest.raises(PemError, match=r"^tls\.key: ") as caught:
        decode_key(pem, what="tls.key")
    assert caught.value.__suppress_context__


def test_an_encrypted_key_is_rejected() -> None:
    """The message says what to do; a server cannot ask for a passphrase."""
    pem = PAIR.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(PemError, match="without a passphrase"):
        decode_key(pem, what="tls.key")


def test_a_key_that_cannot_sign_is_rejected() -> None:
    """For example X25519."""
    pem = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(PemError, match="cannot be used for TLS"):
        decode_key(pem, what="tls.key")


def test_a_key_of_another_certificate_is_rejected() -> None:
    """This is the most common mistake with pairs that users make by hand."""
    with pytest.raises(KeyMismatchError, match="does not belong"):
        decode_pair(PAIR.chain_pem, pair(CA).key_pem, what="test")


def test_keys_do_not_show_in_representations() -> None:
    """A pair or a CA that is logged by mistake shows no key."""
    assert "PrivateKey" not in repr(PAIR)
    assert "PrivateKey" not in repr(CA)


@given(start=st.integers(0, len(GOOD)), length=st.integers(0, 60), junk=st.binary(max_size=60))
def test_damaged_pem_never_raises_anything_else(start: int, length: int, junk: bytes) -> None:
    """Any change of a valid file gives another valid pair or a CertificateError."""
    damaged = GOOD[:start] + junk + GOOD[start + length :]
    try:
        decoded = decode_pair(damaged, damaged, what="test")
    except CertificateError:
        return
    assert decoded.leaf.public_key() == decoded.key.public_key()
