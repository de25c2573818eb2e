"""Whether a call would succeed: against bundles, and over real TLS."""

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
from webhook.certificates.readiness import dial, distrust, loopback, wait_until

NAME = NAMES.api_server_name


def published(*bundles: Bundle) -> PublishedConfiguration:
    """A configuration with a webhook for each bundle."""
    webhooks = tuple(PublishedWebhook(index, f"hook-{index}", bundle) for index, bundle in enumerate(bundles))
    return PublishedConfiguration(Kind.MUTATING, "ours", "1", webhooks)


def trust(*authorities: Authority) -> Bundle:
    """A bundle of CAs."""
    return bundle_of(one.certificate for one in authorities)


class Handle:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.released = False

    def release(self) -> None:
        """It is over."""
        self.released = True

    def note(self, state: str) -> None:
        """It is not."""
        self.notes.append(state)


def test_every_webhook_has_to_believe() -> None:
    """One that trusts another CA, or nobody, is named; when each trusts ours among others, nothing is wrong."""
    ours, other = authority(), authority()
    served = pair(ours)
    good = published(trust(ours), trust(other, ours))
    assert distrust(served, [good, good], server_name=NAME, now=NOW) == ""
    for bad in (trust(other), Bundle()):
        problem = distrust(served, [good, published(trust(ours), bad)], server_name=NAME, now=NOW)
        assert "hook-1 in mutatingwebhookconfigurations ours" in problem


def test_a_leaf_that_ended_or_has_another_name_is_not_believed() -> None:
    """As the API server would see it."""
    ours = authority()
    configurations = [published(trust(ours))]
    assert "expired" in distrust(pair(ours), configurations, server_name=NAME, now=NOW + 2 * DAY)
    assert "not for" in distrust(pair(ours), configurations, server_name="x.y.svc", now=NOW)


def test_where_nobody_calls_there_is_nothing_to_wait_for() -> None:
    """Before the configurations are applied, and where certificates serve another purpose."""
    served = pair(authority())
    assert distrust(served, [], server_name=NAME, now=NOW) == ""
    assert distrust(served, [published()], server_name=NAME, now=NOW) == ""


async def test_a_handle_is_told_of_each_problem_and_then_released() -> None:
    """What stands in the way is shown to whoever asks why a server is not ready."""
    problems = iter(("no", "not yet", ""))

    async def problem() -> str:
        return next(problems)

    handle = Handle()
    await wait_until(handle, problem)
    assert handle.notes == ["no", "not yet"]
    assert handle.released


@pytest.mark.parametrize("demanding", [False, True])
async def test_dialling_shows_the_leaf(*, demanding: bool) -> None:
    """Also where the server demands a certificate, which this client does not have."""
    ca = authority()
    served = pair(ca, names=LOCAL)
    tls = ServerTls(TlsOptions(client_authorities=trust(ca) if demanding else None))
    tls.load(served)
    async with echo_server(tls) as port:
        shown = await dial("127.0.0.1", port, server_name="localhost")
    assert shown == served.leaf.public_bytes(Encoding.DER)


async def test_what_does_not_answer_is_told() -> None:
    """No certificate yet, nobody listening, and a port that never does its part of the handshake."""
    async with echo_server(ServerTls()) as port:
        with pytest.raises(TlsError, match="no TLS handshake"):
            await dial("127.0.0.1", port, server_name="localhost")
    with pytest.raises(TlsError, match="no TLS handshake"):
        await dial("127.0.0.1", port, server_name="localhost")


async def test_a_port_that_stays_silent_is_given_up() -> None:
    """A dial has an end."""
    held: list[asyncio.StreamWriter] = []

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
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
    """What listens everywhere is called by loopback."""
    assert loopback(listens) == called
