"""Whether a call would succeed: with the bundles of webhooks, and over real TLS."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority
from certs.bundle import Bundle, bundle_of
from certs.errors import TlsError
from certs.injector import Kind, PublishedConfiguration, PublishedWebhook
from certs.tls import ServerTls, TlsOptions
from tests.certs.samples import DAY, LOCAL, NAMES, NOW, authority, pair
from tests.certs.wire import echo_server
from webhook.tls.readiness import dial, loopback, port_problem, untrusting_webhook

NAME = NAMES.api_server_name


def published(*bundles: Bundle) -> PublishedConfiguration:
    """Return a configuration with a webhook for each bundle."""
    webhooks = tuple(PublishedWebhook(index, f"hook-{index}", bundle) for index, bundle in enumerate(bundles))
    return PublishedConfiguration(Kind.MUTATING, "rollonce", "1", webhooks)


def trust(*authorities: Authority) -> Bundle:
    """Return a bundle of CAs."""
    return bundle_of(ca.certificate for ca in authorities)


def test_every_webhook_has_to_trust_the_certificate() -> None:
    """A webhook that trusts another CA, or none, is named; one that trusts further CAs is no problem."""
    signer, other = authority(), authority()
    served = pair(signer)
    good = published(trust(signer), trust(other, signer))
    assert untrusting_webhook(served, [good, good], server_name=NAME, now=NOW) == ""
    for bad in (trust(other), Bundle()):
        problem = untrusting_webhook(served, [good, published(trust(signer), bad)], server_name=NAME, now=NOW)
        assert "hook-1 in mutatingwebhookconfigurations rollonce" in problem


def test_a_leaf_that_has_expired_or_has_another_name_is_not_trusted() -> None:
    """The API server would not accept it."""
    signer = authority()
    configurations = [published(trust(signer))]
    assert "expired" in untrusting_webhook(pair(signer), configurations, server_name=NAME, now=NOW + 2 * DAY)
    assert "not for" in untrusting_webhook(pair(signer), configurations, server_name="x.y.svc", now=NOW)


def test_without_webhooks_there_is_nothing_to_wait_for() -> None:
    """The configurations are not applied yet, or have no webhook of this installation."""
    served = pair(authority())
    assert untrusting_webhook(served, [], server_name=NAME, now=NOW) == ""
    assert untrusting_webhook(served, [published()], server_name=NAME, now=NOW) == ""


@pytest.mark.parametrize("required", [False, True])
async def test_a_handshake_returns_the_leaf(*, required: bool) -> None:
    """Also if the server requires a client certificate, which this client does not have."""
    ca = authority()
    served = pair(ca, names=LOCAL)
    tls = ServerTls(TlsOptions(client_authorities=trust(ca) if required else None))
    tls.load(served)
    async with echo_server(tls) as port:
        leaf = await dial("127.0.0.1", port, server_name="localhost")
        assert await port_problem(served, "127.0.0.1", port, server_name="localhost") == ""
    assert leaf == served.leaf.public_bytes(Encoding.DER)


async def test_a_port_is_checked_for_the_expected_certificate() -> None:
    """The problem is a missing certificate, another one, or no handshake."""
    ca = authority()
    expected, tls = pair(ca, names=LOCAL), ServerTls()
    async with echo_server(tls) as port:
        assert await port_problem(None, "127.0.0.1", port, server_name="localhost") == "there is no certificate yet"
        assert "no TLS handshake" in await port_problem(expected, "127.0.0.1", port, server_name="localhost")
        tls.load(pair(ca, names=LOCAL))
        problem = await port_problem(expected, "127.0.0.1", port, server_name="localhost")
        assert problem == "the port shows another certificate"


async def test_a_failed_handshake_is_an_error() -> None:
    """The server has no certificate yet, or no server listens on the port."""
    async with echo_server(ServerTls()) as port:
        with pytest.raises(TlsError, match="no TLS handshake"):
            await dial("127.0.0.1", port, server_name="localhost")
    with pytest.raises(TlsError, match="no TLS handshake"):
        await dial("127.0.0.1", port, server_name="localhost")


async def test_a_handshake_has_a_time_limit() -> None:
    """The server accepts the connection and sends nothing."""
    held: list[asyncio.StreamWriter] = []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    try:
        with pytest.raises(TlsError, match="within 2 s"):
            await dial("127.0.0.1", server.sockets[0].getsockname()[1], server_name="localhost")
    finally:
        for writer in held:
            writer.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("listens", "called"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3"), ("localhost", "localhost")],  # noqa: S104 - not bound
)
def test_a_server_reaches_itself(listens: str, called: str) -> None:
    """One that listens on all addresses is called at the loopback address."""
    assert loopback(listens) == called
