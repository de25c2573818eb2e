"""The serving certificate of one replica: taken from where it comes from, served, renewed, and known to be trusted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.serialization import Encoding

from certs.errors import CertificateError, ConflictError
from certs.files import FileSource
from certs.injector import Injector
from certs.pem import KeyPair
from certs.provided import PairKeeper, Provision, SecretSource
from certs.rotator import Rotator
from certs.secret_store import SecretStore
from certs.serving import LeafKeeper, Renewal
from certs.tls import ServerTls
from webhook.certificates.api import CertificateApi
from webhook.certificates.metrics import ServingMetrics
from webhook.certificates.readiness import Handle, dial, distrust, loopback, wait_until
from webhook.certificates.settings import CertificateSource, ProvidedFiles, ProvidedSecret, SelfManaged
from webhook.certificates.teller import Teller
from webhook.certificates.wake import Watched, wake_on_change
from webhook.clients.kubernetes import KubernetesClient
from webhook.log import Logger

FIRST_PAUSE_SECONDS: Final = 0.1
LAST_PAUSE_SECONDS: Final = 5.0

Work = Coroutine[Any, Any, None]


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Served:
    """What is served right now.

    Args:
        tls: The server's side of TLS.
        metrics: Told of each new pair.
        log: As well.
    """

    def __init__(self, tls: ServerTls, metrics: ServingMetrics, log: Logger) -> None:
        self._tls = tls
        self._metrics = metrics
        self._log = log
        self.pair: KeyPair | None = None

    def take(self, pair: KeyPair) -> None:
        """Serve a pair to every handshake from now on.

        Raises:
            TlsError: OpenSSL does not take it; the one before stays.
        """
        self._tls.load(pair)
        self.pair = pair
        self._metrics.serve(pair.leaf)
        self._log.info("Serving a new certificate.", until=pair.leaf.not_valid_after_utc.isoformat())


class Certificates(Protocol):
    """Where this replica's certificate comes from."""

    async def begin(self) -> None:
        """Look once, before anything is served.

        Raises:
            CertificateError: What was given can never work, and the program should end.
        """

    def work(self) -> tuple[Callable[[], Work], ...]:
        """Return what has to run as long as the server does; each may be begun anew after a defect."""

    async def distrusted(self) -> str:
        """Say why callers would not believe the certificate; empty if they would."""


class SelfManagedCertificates:
    """Signs a leaf by the CA in the Secret; makes the CA where there is no Secret yet.

    Args:
        client: The API server.
        settings: Names, lifetimes and places.
        served: Takes each new leaf.
        metrics: Told of failures.
        log: As well.
    """

    def __init__(
        self,
        client: KubernetesClient,
        settings: SelfManaged,
        served: Served,
        *,
        metrics: ServingMetrics,
        log: Logger,
    ) -> None:
        api = CertificateApi(client)
        store = SecretStore(api, namespace=settings.namespace, name=settings.secret, labels=dict(settings.labels))
        rotation = settings.rotation
        self._client = client
        self._settings = settings
        self._served = served
        self._metrics = metrics
        self._teller = Teller(log)
        self._log = log
        self._injector = Injector(api, settings.target)
        self._rotator = Rotator(store, self._injector, rotation, clock=now)
        self._keeper = LeafKeeper(
            store, rotation.names, lifetime=rotation.leaf_lifetime, deliver=served.take, clock=now
        )

    async def begin(self) -> None:
        """Nothing that is missing now is missing for good."""

    def work(self) -> tuple[Callable[[], Work], ...]:
        """Keep the leaf fresh, and notice at once that the CA has changed."""
        return self._keep, self._watch

    async def distrusted(self) -> str:
        """Ask the live configurations."""
        if self._served.pair is None:
            return "there is no certificate yet"
        try:
            configurations = await self._injector.observe()
        except CertificateError as error:
            return str(error)
        return distrust(self._served.pair, configurations, server_name=self._settings.server_name, now=now())

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not (renewal := await self._keeper.refresh()).held:
            if not await self._make_authority():
                self._report(renewal)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - so that replicas do not act in step
                pause = min(LAST_PAUSE_SECONDS, pause * 2)
        await self._keeper.run(sleep=asyncio.sleep, chance=random.random, report=self._report)

    async def _make_authority(self) -> bool:
        """Make the CA if there is none; return whether there should be one now."""
        try:
            made = await self._rotator.make_first()
        except ConflictError:
            return True
        except CertificateError as error:
            self._teller.problem("There is no CA, and none can be made.", str(error))
            return False
        if made:
            self._log.info("Made the certificate authority.")
        return made

    async def _watch(self) -> None:
        collection = f"/api/v1/namespaces/{self._settings.namespace}/secrets"
        watched = Watched(collection, self._settings.secret)
        await wake_on_change(self._client, watched, self._keeper.wake, log=self._log)

    def _report(self, renewal: Renewal) -> None:
        if renewal.error:
            self._metrics.failures.labels(renewal.error.reason).inc()
            self._teller.problem("The certificate could not be renewed; what is served stays.", str(renewal.error))
        else:
            self._teller.fine("The certificate is being renewed again.")


class ProvidedCertificates:
    """Serves what somebody else provides, and takes each new good pair.

    Args:
        keeper: Looks at where it is provided.
        required: Whether it has to be there at the start.
        metrics: Told of failures and doubts.
        log: As well.
    """

    def __init__(self, keeper: PairKeeper, *, required: bool, metrics: ServingMetrics, log: Logger) -> None:
        self._keeper = keeper
        self._required = required
        self._metrics = metrics
        self._refusals = Teller(log)
        self._doubts = Teller(log)
        self._problem = "there is no certificate yet"

    async def begin(self) -> None:
        """Take the pair if it is there.

        Raises:
            CertificateError: It is not, and has to be.
        """
        provision = await self._keeper.refresh()
        self._report(provision)
        if provision.error and self._required:
            raise provision.error

    def work(self) -> tuple[Callable[[], Work], ...]:
        """Look for new pairs."""
        return (self._keep,)

    async def distrusted(self) -> str:
        """Say only whether there is one: its CA is published by whoever provides it, and not ours to read."""
        return self._problem

    async def _keep(self) -> None:
        await self._keeper.run(sleep=asyncio.sleep, chance=random.random, report=self._report)

    def _report(self, provision: Provision) -> None:
        if provision.error:
            self._metrics.failures.labels(provision.error.reason).inc()
            self._refusals.problem("The provided certificate is not taken; what is served stays.", str(provision.error))
        else:
            self._refusals.fine("The provided certificate is good again.")
        self._metrics.doubtful.set(1 if provision.warning else 0)
        if provision.warning:
            self._doubts.problem("The certificate being served is doubtful.", str(provision.warning))
        else:
            self._doubts.fine("The certificate being served is no longer doubtful.")
        if provision.pair:
            self._problem = ""
        elif provision.error:
            self._problem = str(provision.error)


def certificates(
    source: CertificateSource,
    client: KubernetesClient,
    served: Served,
    *,
    metrics: ServingMetrics,
    log: Logger,
) -> Certificates:
    """Make what keeps the serving certificate.

    Args:
        source: Where it comes from.
        client: The API server; not called for files.
        served: Takes each new pair.
        metrics: For what happens.
        log: As well.
    """
    match source:
        case SelfManaged():
            return SelfManagedCertificates(client, source, served, metrics=metrics, log=log)
        case ProvidedFiles():
            # Without a bundle the name is not looked at.
            keeper = PairKeeper(
                FileSource(source.certificate, source.key), server_name="", deliver=served.take, clock=now
            )
            return ProvidedCertificates(keeper, required=True, metrics=metrics, log=log)
        case ProvidedSecret():
            pairs = SecretSource(CertificateApi(client), namespace=source.namespace, name=source.name)
            keeper = PairKeeper(pairs, server_name=source.server_name, deliver=served.take, clock=now)
            return ProvidedCertificates(keeper, required=False, metrics=metrics, log=log)


async def wait_until_trusted(handle: Handle, source: Certificates) -> None:
    """Release the handle once callers would believe the certificate."""
    await wait_until(handle, source.distrusted)


async def wait_until_dialled(handle: Handle, served: Served, host: str, port: int, *, server_name: str) -> None:
    """Release the handle once our own port has shown our own certificate."""

    async def problem() -> str:
        if served.pair is None:
            return "there is no certificate yet"
        expected = served.pair.leaf.public_bytes(Encoding.DER)
        try:
            shown = await dial(loopback(host), port, server_name=server_name)
        except CertificateError as error:
            return str(error)
        # A renewal in between is no problem, but has to be looked at again.
        return "" if shown == expected else "the port shows another certificate"

    await wait_until(handle, problem)
