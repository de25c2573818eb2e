"""The serving certificate of one replica, wherever it comes from."""

from __future__ import annotations

from webhook.certificates.managed import SelfManagedCertificates
from webhook.certificates.metrics import ServingMetrics
from webhook.certificates.provided import from_files, from_secret
from webhook.certificates.served import Certificates, Served
from webhook.certificates.settings import CertificateSource, ProvidedFiles, ProvidedSecret, SelfManaged
from webhook.clients.kubernetes import KubernetesClient
from webhook.log import Logger


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
            return from_files(source, served, metrics=metrics, log=log)
        case ProvidedSecret():
            return from_secret(source, client, served, metrics=metrics, log=log)
