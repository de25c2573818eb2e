"""The certificates that `certs` makes: what they contain and which clients accept them."""

import shutil
import ssl
import subprocess
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.authority import (
    BACKDATE,
    check_validity,
    decode_authority,
    is_authority,
    issue_leaf,
    permits,
)
from certs.bundle import bundle_of, check_leaf
from certs.errors import KeyMismatchError, NamesError, PemError, UntrustedError, ValidityError
from certs.names import ServingNames
from certs.pem import encode_certificates, encode_key
from tests.certs.samples import DAY, LOCAL, NAMES, NOW, YEAR, authority, foreign, pair, stolen

CA = authority()


def test_an_authority_can_sign_leaves_only() -> None:
    """Path length 0, key usage and extended key usage allow nothing else."""
    extensions = CA.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature
    assert is_authority(CA.certificate)


def test_two_authorities_have_nothing_in_common() -> None:
    """Serial number, subject and key differ."""
    first, second = CA.certificate, authority().certificate
    assert first.serial_number != second.serial_number
    assert first.subject != second.subject
    assert first.public_key() != second.public_key()


def test_validity_is_backdated_and_ends_as_asked() -> None:
    """Times are in UTC and whole seconds."""
    moment = NOW + timedelta(microseconds=7)
    made = authority(now=moment).certificate
    assert made.not_valid_before_utc == NOW - BACKDATE
    assert made.not_valid_after_utc == NOW + YEAR


def test_a_leaf_names_the_service_and_its_issuer() -> None:
    """It has subject alternative names, serverAuth, and matching key identifiers."""
    ca = authority(names=LOCAL)
    leaf = pair(ca, names=LOCAL).leaf
    extensions = leaf.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == LOCAL.dns_names
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1")]
    uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH]
    issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    ca_key = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert issuer == ca_key
    assert not is_authority(leaf)
    leaf.verify_directly_issued_by(ca.certificate)


def test_a_leaf_is_valid_only_while_its_authority_is() -> None:
    """Neither before nor after."""
    short = authority(lifetime=timedelta(hours=3))
    early = issue_leaf(short, NAMES, now=NOW - timedelta(minutes=30), lifetime=YEAR).leaf
    assert early.not_valid_before_utc == short.certificate.not_valid_before_utc
    assert early.not_valid_after_utc == short.certificate.not_valid_after_utc


@pytest.mark.parametrize(("moment", "message"), [(NOW - DAY, "not valid before"), (NOW + 2 * YEAR, "expired")])
def test_an_authority_that_is_not_valid_signs_nothing(moment: object, message: str) -> None:
    """No client would accept its leaf."""
    with pytest.raises(ValidityError, match=message):
        issue_leaf(CA, NAMES, now=moment, lifetime=DAY)  # type: ignore[arg-type]  # parametrize is untyped


def test_validity_includes_both_ends() -> None:
    """RFC 5280, 4.1.2.5: from notBefore through notAfter, inclusive."""
    check_validity(CA.certificate, now=CA.certificate.not_valid_before_utc, what="it")
    check_validity(CA.certificate, now=CA.certificate.not_valid_after_utc, what="it")


def test_name_constraints_forbid_other_servers() -> None:
    """A stolen CA key cannot sign for another name, nor for an address if none is permitted."""
    bundle = bundle_of([CA.certificate])
    service = x509.DNSName(NAMES.api_server_name)
    other = x509.DNSName("kubernetes.default.svc")
    for address in ("127.0.0.1", "::1"):
        chain = stolen(CA, service, x509.IPAddress(ip_address(address))).chain
        with pytest.raises(UntrustedError, match="does not chain"):
            check_leaf(chain, bundle, server_name=address, now=NOW)
    with pytest.raises(UntrustedError, match="does not chain"):
        check_leaf(stolen(CA, service, other).chain, bundle, server_name=other.value, now=NOW)
    check_leaf(stolen(CA, service).chain, bundle, server_name=service.value, now=NOW)


def test_names_that_the_authority_forbids_are_left_out() -> None:
    """One of them would make the leaf invalid; a CA of another Service signs nothing."""
    names = ServingNames("rollonce", "prod", hosts=("extra.example",), addresses=(ip_address("127.0.0.1"),))
    leaf = issue_leaf(CA, names, now=NOW, lifetime=DAY)
    check_leaf(leaf.chain, bundle_of([CA.certificate]), server_name=NAMES.api_server_name, now=NOW)
    with pytest.raises(NamesError, match="made for another Service"):
        issue_leaf(CA, ServingNames("other", "place"), now=NOW, lifetime=DAY)


def test_names_that_an_authority_does_not_permit_require_a_new_one() -> None:
    """So does a CA without name constraints; fewer names do not."""
    assert permits(CA.certificate, NAMES)
    assert not permits(CA.certificate, LOCAL)
    assert permits(authority(names=LOCAL).certificate, NAMES)
    assert not permits(CA.certificate, ServingNames("rollonce", "prod", "other.domain"))
    assert not permits(foreign(ca=True).leaf, NAMES)


def test_an_authority_survives_encoding() -> None:
    """Certificate and key are the same after decoding."""
    decoded = decode_authority(encode_certificates((CA.certificate,)), encode_key(CA.key), what="test")
    assert decoded.identity == CA.identity
    assert encode_key(decoded.key) == encode_key(CA.key)


def test_only_an_authority_is_decoded() -> None:
    """Not two certificates, a leaf, a certificate without extensions, an RSA key, or the key of another CA."""
    leaf, by_hand, rsa = pair(CA), foreign(), foreign(use_rsa=True, ca=True)
    good = encode_certificates((CA.certificate,))
    for certificate, key in (
        (good + good, encode_key(CA.key)),
        (leaf.chain_pem, leaf.key_pem),
        (by_hand.chain_pem, by_hand.key_pem),
        (rsa.chain_pem, rsa.key_pem),
    ):
        with pytest.raises(PemError):
            decode_authority(certificate, key, what="test")
    with pytest.raises(KeyMismatchError):
        decode_authority(good, encode_key(authority().key), what="test")


@pytest.mark.parametrize("names", [NAMES, LOCAL], ids=["service", "with addresses"])
def test_openssl_accepts_the_chain_in_strict_mode(names: ServingNames, tmp_path: Path) -> None:
    """Run `openssl verify -x509_strict` for each name and address, if the program is installed."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl program; test_tls.py verifies strictly by OpenSSL's library")
    ca = authority(names=names)
    leaf = pair(ca, names=names)
    (tmp_path / "ca.pem").write_bytes(encode_certificates((ca.certificate,)))
    (tmp_path / "leaf.pem").write_bytes(leaf.chain_pem)
    checks = [("-verify_hostname", name) for name in names.dns_names]
    checks += [("-verify_ip", str(address)) for address in names.addresses]
    for check in checks:
        command = [program, "verify", "-x509_strict", "-purpose", "sslserver", "-attime", str(int(NOW.timestamp()))]
        command += ["-CAfile", str(tmp_path / "ca.pem"), *check, str(tmp_path / "leaf.pem")]
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr


def test_python_loads_a_bundle() -> None:
    """The `ssl` module takes its certificates as trust anchors."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=bundle_of([CA.certificate, authority().certificate]).pem.decode())
    assert context.cert_store_stats()["x509_ca"] == 2
