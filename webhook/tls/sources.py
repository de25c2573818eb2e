"""Where the serving certificate comes from, and for which names, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from certs.errors import CertificateError
from certs.injector import Target
from certs.names import Address, ServingNames
from certs.rotation_plan import RotationSettings
from webhook.errors import ConfigurationError
from webhook.runtime.options import CLUSTER_DOMAIN, CONFIGURATIONS, SERVICE, WEBHOOKS_URL, own_namespace, required_path
from webhook.runtime.settings import Settings
from webhook.tls.settings import (
    TLS_CA_LIFETIME,
    TLS_CA_SECRET,
    TLS_CERTIFICATE,
    TLS_EXTRA_NAMES,
    TLS_KEY,
    TLS_LEAF_LIFETIME,
    TLS_MARGIN,
    TLS_MODE,
    TLS_SECRET,
    TLS_SETTLE,
    TlsMode,
)


@dataclass(frozen=True, slots=True)
class SelfManaged:
    """rollonce makes the certificates; the servers, the controller and the command line agree on these values.

    Attributes:
        namespace: Namespace of the CA Secret.
        secret: Name of the CA Secret.
        target: The webhooks of this installation.
        rotation: Names and lifetimes.
        labels: Labels of the CA Secret if it is created by rollonce.
    """

    namespace: str
    secret: str
    target: Target
    rotation: RotationSettings
    labels: tuple[tuple[str, str], ...] = (("app.kubernetes.io/name", "rollonce"),)

    @property
    def server_name(self) -> str:
        """The name that an API server verifies: that of the Service, or the host of the URL."""
        host = urlsplit(self.target.url_prefix).hostname if self.target.url_prefix else None
        return host or self.rotation.names.api_server_name


@dataclass(frozen=True, slots=True)
class ProvidedFiles:
    """Others write the certificate to files.

    Attributes:
        certificate: Path of the chain, leaf first.
        key: Path of its private key.
    """

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ProvidedSecret:
    """Others write the certificate to a Secret.

    Attributes:
        namespace: Namespace of the Secret.
        name: Name of the Secret.
        server_name: The name by which the API server calls; a certificate for other names is served, with a warning.
    """

    namespace: str
    name: str
    server_name: str


CertificateSource = SelfManaged | ProvidedFiles | ProvidedSecret


def certificate_source(settings: Settings) -> CertificateSource:
    """Return where the serving certificate comes from.

    Raises:
        ConfigurationError: Settings contradict each other or cannot work.
    """
    mode = _mode(settings)
    if mode is TlsMode.FILES:
        return ProvidedFiles(required_path(settings, TLS_CERTIFICATE), required_path(settings, TLS_KEY))
    if settings[TLS_CERTIFICATE] or settings[TLS_KEY]:
        raise ConfigurationError(
            f"{settings.source(TLS_MODE)}: in mode {mode.value} no certificate files are read; leave out "
            f"{TLS_CERTIFICATE.flag} and {TLS_KEY.flag}, or choose mode files."
        )
    return self_managed_source(settings) if mode is TlsMode.SELF_MANAGED else _provided_secret(settings)


def is_self_managed(settings: Settings) -> bool:
    """Return whether rollonce makes its certificates."""
    return _mode(settings) is TlsMode.SELF_MANAGED


def self_managed_source(settings: Settings) -> SelfManaged:
    """Return the values of the self-managed mode.

    Raises:
        ConfigurationError: A name or a lifetime cannot work.
    """
    namespace, configurations, url = own_namespace(settings), settings[CONFIGURATIONS], settings[WEBHOOKS_URL]
    try:
        rotation = RotationSettings(
            _names(settings, namespace),
            ca_lifetime=timedelta(seconds=settings[TLS_CA_LIFETIME]),
            leaf_lifetime=timedelta(seconds=settings[TLS_LEAF_LIFETIME]),
            settle=timedelta(seconds=settings[TLS_SETTLE]),
            margin=timedelta(seconds=settings[TLS_MARGIN]),
        )
    except CertificateError as error:
        raise ConfigurationError(f"The certificates' settings cannot work: {error}.") from None
    target = Target(
        namespace,
        settings[SERVICE],
        mutating=configurations,
        validating=configurations,
        # With the slash, because without it port 844 would be a prefix of port 8443.
        url_prefix=f"{url}/" if url else "",
    )
    return SelfManaged(namespace, settings[TLS_CA_SECRET], target, rotation)


def _mode(settings: Settings) -> TlsMode:
    mode = settings[TLS_MODE]
    if mode is not TlsMode.AUTO:
        return mode
    return TlsMode.FILES if settings[TLS_CERTIFICATE] or settings[TLS_KEY] else TlsMode.SELF_MANAGED


def _provided_secret(settings: Settings) -> ProvidedSecret:
    namespace = own_namespace(settings)
    try:
        names = _names(settings, namespace)
    except CertificateError as error:
        raise ConfigurationError(f"The certificate's names cannot work: {error}.") from None
    return ProvidedSecret(namespace, settings[TLS_SECRET], names.api_server_name)


def _names(settings: Settings, namespace: str) -> ServingNames:
    hosts: list[str] = []
    addresses: list[Address] = []
    for name in settings[TLS_EXTRA_NAMES]:
        try:
            addresses.append(ip_address(name))
        except ValueError:
            hosts.append(name)
    return ServingNames(
        settings[SERVICE],
        namespace,
        cluster_domain=settings[CLUSTER_DOMAIN],
        hosts=tuple(hosts),
        addresses=tuple(addresses),
    )
