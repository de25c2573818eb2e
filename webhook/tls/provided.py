"""The serving certificate that others make: files, or a Secret."""

from __future__ import annotations

from collections.abc import Mapping

from certs.pair_reloader import PairReloader, ReloadResult
from certs.pair_sources import FileSource, SecretSource
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock
from webhook.runtime.log import ChangeLogger, Logger
from webhook.tls.api_adapter import ApiAdapter
from webhook.tls.holder import CertificateHolder, Work
from webhook.tls.metrics import ServingMetrics
from webhook.tls.readiness import NO_CERTIFICATE
from webhook.tls.sources import ProvidedFiles, ProvidedSecret


class ProvidedCertificate:
    """Serve each valid certificate that others provide.

    Args:
        reloader: Reads the place where it is provided.
        required: Whether it has to be there at the start.
        metrics: Counts failures, and shows whether the certificate is trusted.
        log: Receives failures and their end.
    """

    def __init__(self, reloader: PairReloader, *, required: bool, metrics: ServingMetrics, log: Logger) -> None:
        self._reloader = reloader
        self._required = required
        self._metrics = metrics
        self._errors, self._warnings = ChangeLogger(log), ChangeLogger(log)
        self._problem = NO_CERTIFICATE

    async def begin(self) -> None:
        """Load the certificate if it is there.

        Raises:
            CertificateError: It is not, and it is required.
        """
        result = await self._reloader.refresh()
        self._report(result)
        if result.error and self._required:
            raise result.error

    def tasks(self) -> Mapping[str, Work]:
        """Return the loop that loads new certificates."""
        return {"certificate": self._keep}

    async def trust_problem(self) -> str:
        """Return why there is no certificate; empty if there is one.

        The webhook configurations are not read: there may be no right to, and who provides the certificate publishes
        its CA.
        """
        return self._problem

    async def _keep(self) -> None:
        await self._reloader.run(report=self._report)

    def _report(self, result: ReloadResult) -> None:
        if result.error:
            self._metrics.failures.labels(result.error.reason).inc()
            self._errors.failed("provided certificate rejected", str(result.error))
        else:
            self._errors.recovered("provided certificate accepted again")
        self._metrics.untrusted.set(1 if result.warning else 0)
        if result.warning:
            self._warnings.failed("served certificate is not trusted", str(result.warning))
        else:
            self._warnings.recovered("served certificate is trusted again")
        if result.pair:
            self._problem = ""
        elif result.error:
            self._problem = str(result.error)


def from_files(
    source: ProvidedFiles, holder: CertificateHolder, *, metrics: ServingMetrics, clock: Clock, log: Logger
) -> ProvidedCertificate:
    """Return the certificate in files, which have to be there at the start."""
    # The name is only checked against a bundle, and none is given.
    files = FileSource(source.certificate, source.key)
    reloader = PairReloader(files, server_name="", deliver=holder.load, clock=clock)
    return ProvidedCertificate(reloader, required=True, metrics=metrics, log=log)


def from_secret(
    source: ProvidedSecret,
    api: KubernetesApi,
    holder: CertificateHolder,
    *,
    metrics: ServingMetrics,
    clock: Clock,
    log: Logger,
) -> ProvidedCertificate:
    """Return the certificate in a Secret, which may be created later."""
    secret = SecretSource(ApiAdapter(api, clock), namespace=source.namespace, name=source.name)
    reloader = PairReloader(secret, server_name=source.server_name, deliver=holder.load, clock=clock)
    return ProvidedCertificate(reloader, required=False, metrics=metrics, log=log)
