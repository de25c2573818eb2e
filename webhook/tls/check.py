"""What can be checked of the settings of certificates and TLS before anything is opened: contradictions, and files."""

from __future__ import annotations

from certs.authority import check_validity
from certs.errors import CertificateError
from certs.pair_sources import FileSource
from certs.pem import decode_pair
from webhook.errors import ConfigurationError
from webhook.runtime.clock import Clock
from webhook.runtime.settings import Settings
from webhook.tls.serving import new_tls
from webhook.tls.settings import TLS_CERTIFICATE, TLS_KEY
from webhook.tls.sources import ProvidedFiles, certificate_source, is_self_managed, self_managed_source


def check_server(settings: Settings) -> None:
    """Check the settings of the admission server.

    Raises:
        ConfigurationError: Settings contradict each other, or a file cannot be used.
    """
    now = Clock().now()
    source = certificate_source(settings)
    tls = new_tls(settings, now)
    if not isinstance(source, ProvidedFiles):
        return
    try:
        raw = FileSource(source.certificate, source.key).read_blocking()
        pair = decode_pair(raw.certificate, raw.key, what="the provided")
        check_validity(pair.leaf, now=now, what="the provided certificate")
        tls.load(pair)
    except CertificateError as error:
        given = f"{settings.source(TLS_CERTIFICATE)}, {settings.source(TLS_KEY)}"
        raise ConfigurationError(f"{given}: {error}.") from None


def check_controller(settings: Settings) -> None:
    """Check the settings of the controller, which needs no certificate of its own.

    Raises:
        ConfigurationError: Settings contradict each other.
    """
    if is_self_managed(settings):
        self_managed_source(settings)
