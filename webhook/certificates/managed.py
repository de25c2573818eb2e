"""Certificates that rollonce makes: each replica signs its own by the CA in the Secret."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from certs.errors import CertificateError, ConflictError
from certs.injector import Injector
from certs.rotator import Rotator
from certs.secret_store import SecretStore
from certs.serving import LeafKeeper, Renewal
from webhook.certificates.api import CertificateApi
from webhook.certificates.metrics import ServingMetrics
from webhook.certificates.readiness import distrust
from webhook.certificates.served import Served, Work, now
from webhook.certificates.settings import SelfManaged
from webhook.certificates.teller import Teller
from webhook.certificates.wake import Watched, wake_on_change
from webhook.clients.kubernetes import KubernetesClient
from webhook.log import Logger

FIRST_PAUSE_SECONDS: Final = 0.1
LAST_PAUSE_SECONDS: Final = 5.0


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
