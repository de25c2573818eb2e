"""Where the serving certificate comes from, and for which names, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from certs.errors import CertificateError, SettingsError
from certs.injector import Target
from certs.names import Address, ServingNames
from certs.rotation_plan import RotationSettings
from webhook.errors import ConfigurationError
from webhook.runtime.options import CLUSTER_DOMAIN, CONFIGURATIONS, SERVICE, WEBHOOKS_URL, own_namespace
from webhook.runtime.settings import Setting, Settings
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
        return ProvidedFiles(_required(settings, TLS_CERTIFICATE), _required(settings, TLS_KEY))
    if given := [setting for setting in (TLS_CERTIFICATE, TLS_KEY) if settings[setting]]:
        raise ConfigurationError(
            f"{settings.sources(TLS_MODE, *given)}: in mode {mode.value} no certificate files are read; leave out "
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
    except SettingsError as error:
        given = settings.sources(TLS_CA_LIFETIME, TLS_LEAF_LIFETIME, TLS_SETTLE, TLS_MARGIN)
        raise ConfigurationError(f"{given}: the lifetimes of certificates cannot work together: {error}.") from None
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


def _required(settings: Settings, setting: Setting[Path | None]) -> Path:
    path = settings[setting]
    if path is None:
        given = settings.sources(TLS_MODE, TLS_CERTIFICATE, TLS_KEY)
        raise ConfigurationError(f"{given}: with certificate files, {setting.flag} is required: {setting.help}")
    return path


def _provided_secret(settings: Settings) -> ProvidedSecret:
    namespace = own_namespace(settings)
    return ProvidedSecret(namespace, settings[TLS_SECRET], _names(settings, namespace).api_server_name)


def _names(settings: Settings, namespace: str) -> ServingNames:
    """Return the names of serving certificates; the host of the URL by which webhooks are called is one of them.

    Raises:
        ConfigurationError: No certificate can have one of them.
    """
    url = urlsplit(settings[WEBHOOKS_URL]).hostname
    hosts: list[str] = []
    addresses: list[Address] = []
    for name in dict.fromkeys((*settings[TLS_EXTRA_NAMES], *((url,) if url else ()))):
        try:
            addresses.append(ip_address(name))
        except ValueError:
            hosts.append(name)
    try:
        return ServingNames(
            settings[SERVICE],
            namespace,
            cluster_domain=settings[CLUSTER_DOMAIN],
            hosts=tuple(hosts),
            addresses=tuple(addresses),
        )
    except CertificateError as error:
        given = settings.sources(SERVICE, CLUSTER_DOMAIN, TLS_EXTRA_NAMES, WEBHOOKS_URL)
        raise ConfigurationError(f"{given}: no certificate can be made for these names: {error}.") from None
