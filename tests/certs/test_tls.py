"""A change of the certificate, with real servers and clients."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certs.authority import Authority
from certs.bundle import Bundle, bundle_of
from certs.errors import TlsError
from certs.pem import KeyPair, PrivateKey
from certs.tls import ServerTls, TlsOptions, _as_file
from tests.certs.samples import LOCAL, authority, foreign, pair
from tests.certs.wire import client_context, connect, echo_server

#: OpenSSL uses the real clock.
NOW = datetime.now(UTC)
CA = authority(names=LOCAL, now=NOW)
BUNDLE = bundle_of([CA.certificate])
CLIENTS = foreign(now=NOW, ca=True)


def leaf(ca: Authority = CA) -> KeyPair:
    """Return a new pair for this machine."""
    return pair(ca, names=LOCAL, now=NOW)


def der(made: KeyPair) -> bytes:
    """Return the leaf as a client receives it."""
    return ssl.PEM_cert_to_DER_cert(made.chain_pem.decode())


def client_pair(name: str, *, key: PrivateKey = CLIENTS.key, issuer: KeyPair = CLIENTS) -> KeyPair:
    """Return a client certificate of that CA."""
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    alternatives = [
        x509.DNSName(f"{name}.example"),
        x509.UniformResourceIdentifier("spiffe://x/y"),
        x509.RFC822Name("a@b"),
    ]
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer.leaf.subject, public_key=own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(hours=1))
        .not_valid_after(NOW + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    )
    return KeyPair((builder.sign(key, hashes.SHA256()),), own)


@pytest.mark.parametrize("server_name", [*LOCAL.dns_names, "127.0.0.1"])
async def test_a_strict_client_accepts_each_name(server_name: str) -> None:
    """With X509_STRICT and TLS 1.3."""
    tls = ServerTls()
    tls.load(leaf())
    async with echo_server(tls) as port:
        connection = await connect(port, client_context(BUNDLE), server_name=server_name)
        assert await connection.ask() == b"hello"
        assert connection.tls.version() == "TLSv1.3"
        await connection.close()


async def test_a_new_pair_is_for_new_connections_and_old_ones_stay_open() -> None:
    """Also if the CA changes."""
    first, second = leaf(), leaf(authority(names=LOCAL, now=NOW))
    tls = ServerTls()
    tls.load(first)
    async with echo_server(tls) as port:
        old = await connect(port, client_context(BUNDLE))
        tls.load(second)
        assert await old.ask() == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(port, client_context(BUNDLE))
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        new = await connect(port, trusting)
        assert (old.served, new.served) == (der(first), der(second))
        assert await old.ask(b"still here") == b"still here"
        await old.close()
        await new.close()


async def test_after_a_pair_that_does_not_match_the_old_one_is_served() -> None:
    """`load_cert_chain` on a context in use would make every later handshake fail."""
    good = leaf()
    tls = ServerTls()
    tls.load(good)
    with pytest.raises(TlsError, match="KEY_VALUES_MISMATCH"):
        tls.load(KeyPair(leaf().chain, leaf().key))
    async with echo_server(tls) as port:
        connection = await connect(port, client_context(BUNDLE))
        assert connection.served == der(good)
        await connection.close()


async def test_a_pair_of_another_key_type_replaces_the_old_one_completely() -> None:
    """In one context, an RSA certificate would stay beside an ECDSA one, and clients that prefer it would get it."""
    rsa, ecdsa = foreign(now=NOW, dns_names=("localhost",), use_rsa=True, ca=True), leaf()
    tls = ServerTls(TlsOptions(minimum=ssl.TLSVersion.TLSv1_2))
    tls.load(rsa)
    tls.load(ecdsa)
    context = client_context(bundle_of([*rsa.chain, CA.certificate]))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    async with echo_server(tls) as port:
        connection = await connect(port, context)
        assert connection.served == der(ecdsa)
        await connection.close()


async def test_without_a_pair_handshakes_end_with_an_alert() -> None:
    """The server listens already, but has no certificate."""
    tls = ServerTls()
    assert tls._serving is None
    async with echo_server(tls) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port, client_context(BUNDLE))
    tls.load(leaf())
    assert tls._serving


@pytest.mark.parametrize("minimum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_oldest_version_is_an_option(minimum: ssl.TLSVersion) -> None:
    """A client that has TLS 1.2 only is accepted only if the option allows it."""
    tls = ServerTls(TlsOptions(minimum=minimum))
    tls.load(leaf())
    context = client_context(BUNDLE)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with echo_server(tls) as port:
        if minimum == ssl.TLSVersion.TLSv1_2:
            connection = await connect(port, context)
            assert connection.tls.version() == "TLSv1.2"
            await connection.close()
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connect(port, context)


async def test_a_session_is_resumed_across_a_change_of_the_pair() -> None:
    """The ticket of a session belongs to the server, not to the pair."""
    tls = ServerTls()
    tls.load(leaf())
    context = client_context(BUNDLE)
    async with echo_server(tls) as port:
        first = await asyncio.to_thread(_session_of, port, context, None)
        tls.load(leaf())
        again = await asyncio.to_thread(_session_of, port, context, first[0])
    assert (first[1], again[1]) == (False, True)


def _session_of(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    """Connect with a blocking client, which can resume a session; return its session, and whether it was resumed."""
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as wrapped,
    ):
        wrapped.sendall(b"hello\n")
        assert wrapped.recv(100) == b"hello\n"
        return wrapped.session, bool(wrapped.session_reused)


async def test_a_client_certificate_can_be_required() -> None:
    """The application reads its names; without a certificate, or with one of another CA, the handshake fails."""
    tls = ServerTls(TlsOptions(client_authorities=bundle_of(CLIENTS.chain)))
    tls.load(leaf())
    stranger = foreign(now=NOW, ca=True)
    relaxed = [client_context(BUNDLE, shown=shown) for shown in (client_pair("apiserver"), None)]
    relaxed.append(client_context(BUNDLE, shown=client_pair("apiserver", key=stranger.key, issuer=stranger)))
    async with echo_server(tls) as port:
        known = await connect(port, relaxed[0])
        assert await known.ask() == b"hello apiserver apiserver.example spiffe://x/y"
        await known.close()
        for context in relaxed[1:]:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await _talk(port, context)


async def _talk(port: int, context: ssl.SSLContext) -> None:
    # In TLS 1.3 a client learns only at its first read that its certificate was rejected.
    connection = await connect(port, context)
    try:
        await connection.ask()
    finally:
        await connection.close()


async def test_if_none_is_required_a_client_has_no_names() -> None:
    """Even if it has a certificate."""
    tls = ServerTls()
    tls.load(leaf())
    async with echo_server(tls) as port:
        connection = await connect(port, client_context(BUNDLE, shown=client_pair("apiserver")))
        assert await connection.ask() == b"hello"
        await connection.close()


def test_requiring_client_certificates_without_any_authority_is_an_error() -> None:
    """No certificate could be verified."""
    with pytest.raises(TlsError, match="no CA is given"):
        ServerTls(TlsOptions(client_authorities=Bundle()))


def test_a_pair_that_openssl_rejects_is_an_error() -> None:
    """`cryptography` can decode pairs that OpenSSL rejects."""
    tls = ServerTls()
    weak = x509.load_pem_x509_certificates(foreign(now=NOW, use_rsa=True).chain_pem)
    with pytest.raises(TlsError, match="OpenSSL rejects"):
        tls.load(KeyPair(tuple(weak), leaf().key))
    assert tls._serving is None


_WITHOUT_MEMORY_FILES = """
import os
from pathlib import Path
del os.memfd_create
from certs.tls import _as_file
with _as_file(b"content") as path:
    file = Path(path)
    print(file.parent, format(file.stat().st_mode & 0o777, "o"), file.read_text())
"""


def test_keys_are_in_memory_only_or_in_a_file_that_is_removed(tmp_path: Path) -> None:
    """The mode is 0600 in both cases; a temporary file is used if there are no memory files."""
    with _as_file(b"content") as path:
        assert path.startswith("/proc/self/fd/")
        assert Path(path).read_bytes() == b"content"
        assert os.stat(path).st_mode & 0o777 == 0o600  # noqa: PTH116 - a path of /proc
    assert not Path(path).exists()
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_MEMORY_FILES],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=True,
        text=True,
    )
    folder, mode, content = done.stdout.split()
    assert (Path(folder), mode, content) == (tmp_path, "600", "content")
    assert list(tmp_path.iterdir()) == []
