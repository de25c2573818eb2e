"""Certificates that somebody else makes: files, or a Secret."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from certs.files import FileSource
from certs.provided import PairKeeper, Provision, SecretSource
from webhook.certificates.api import CertificateApi
from webhook.certificates.metrics import ServingMetrics
from webhook.certificates.served import Served, Work, now
from webhook.certificates.settings import ProvidedFiles, ProvidedSecret
from webhook.certificates.teller import Teller
from webhook.clients.api import KubernetesApi
from webhook.log import Logger


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


def from_files(source: ProvidedFiles, served: Served, *, metrics: ServingMetrics, log: Logger) -> ProvidedCertificates:
    """Serve what is in files, which have to be there at the start."""
    # Without a bundle the name is not looked at.
    files = FileSource(source.certificate, source.key)
    keeper = PairKeeper(files, server_name="", deliver=served.take, clock=now)
    return ProvidedCertificates(keeper, required=True, metrics=metrics, log=log)


def from_secret(
    source: ProvidedSecret, api: KubernetesApi, served: Served, *, metrics: ServingMetrics, log: Logger
) -> ProvidedCertificates:
    """Serve what is in a Secret, which may come later."""
    pairs = SecretSource(CertificateApi(api), namespace=source.namespace, name=source.name)
    keeper = PairKeeper(pairs, server_name=source.server_name, deliver=served.take, clock=now)
    return ProvidedCertificates(keeper, required=False, metrics=metrics, log=log)
