"""From settings to where certificates come from."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from certs.errors import CertificateError
from certs.injector import Target
from certs.names import Address, ServingNames
from certs.rotation import RotationSettings
from webhook import options
from webhook.certificates.settings import CertificateSource, ProvidedFiles, ProvidedSecret, SelfManaged, TlsMode
from webhook.clients.kubernetes import NAMESPACE_FILE
from webhook.config import Setting, Values
from webhook.errors import ConfigurationError


def own_namespace(values: Values, *, file: Path = NAMESPACE_FILE) -> str:
    """Find out which namespace is ours.

    Args:
        values: The settings.
        file: Where a pod finds it.

    Raises:
        ConfigurationError: It was not given, and this is no pod.
    """
    if given := values[options.NAMESPACE]:
        return given
    try:
        return file.read_text().strip()
    except OSError:
        raise ConfigurationError(
            f"Our own namespace is not known, since this is no pod. Give it by {options.NAMESPACE.flag}."
        ) from None


def certificate_source(values: Values) -> CertificateSource:
    """Decide where the serving certificate comes from.

    Raises:
        ConfigurationError: Settings contradict each other or cannot work.
    """
    mode = _mode(values)
    if mode is TlsMode.FILES:
        return ProvidedFiles(
            _required(values, options.TLS_CERTIFICATE),
            _required(values, options.TLS_KEY),
        )
    if values[options.TLS_CERTIFICATE] or values[options.TLS_KEY]:
        raise ConfigurationError(
            f"{values.source(options.TLS_MODE)}: in mode {mode.value} no certificate files are read; leave out "
            f"{options.TLS_CERTIFICATE.flag} and {options.TLS_KEY.flag}, or choose mode files."
        )
    return self_managed(values) if mode is TlsMode.SELF_MANAGED else _secret(values)


def manages_itself(values: Values) -> bool:
    """Whether rollonce makes its certificates."""
    return _mode(values) is TlsMode.SELF_MANAGED


def self_managed(values: Values) -> SelfManaged:
    """Collect what the self-managed mode needs.

    Raises:
        ConfigurationError: A name or a lifetime cannot work.
    """
    namespace, names = own_namespace(values), values[options.CONFIGURATIONS]
    url = values[options.WEBHOOKS_URL]
    service = values[options.SERVICE]
    try:
        rotation = RotationSettings(
            _names(values, namespace),
            ca_lifetime=timedelta(seconds=values[options.TLS_CA_LIFETIME]),
            leaf_lifetime=timedelta(seconds=values[options.TLS_LEAF_LIFETIME]),
            settle=timedelta(seconds=values[options.TLS_SETTLE]),
            margin=timedelta(seconds=values[options.TLS_MARGIN]),
        )
    except CertificateError as error:
        raise ConfigurationError(f"The certificates' settings cannot work: {error}.") from None
    return SelfManaged(
        namespace=namespace,
        secret=values[options.TLS_CA_SECRET],
        # With the slash, or a port would also stand for those that begin with it.
        target=Target(namespace, service, mutating=names, validating=names, url_prefix=f"{url}/" if url else ""),
        rotation=rotation,
    )


def required_file(values: Values, setting: Setting[Path | None]) -> bytes:
    """Read a file that a setting names.

    Raises:
        ConfigurationError: None is named, or it cannot be read.
    """
    path = _required(values, setting)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{values.source(setting)}: cannot read {path}: {error.strerror}.") from None


def _mode(values: Values) -> TlsMode:
    mode = values[options.TLS_MODE]
    if mode is not TlsMode.AUTO:
        return mode
    given = values[options.TLS_CERTIFICATE] or values[options.TLS_KEY]
    return TlsMode.FILES if given else TlsMode.SELF_MANAGED


def _secret(values: Values) -> ProvidedSecret:
    namespace = own_namespace(values)
    try:
        names = _names(values, namespace)
    except CertificateError as error:
        raise ConfigurationError(f"The certificate's names cannot work: {error}.") from None
    return ProvidedSecret(namespace, values[options.TLS_SECRET], names.api_server_name)


def _names(values: Values, namespace: str) -> ServingNames:
    hosts: list[str] = []
    addresses: list[Address] = []
    for word in values[options.TLS_EXTRA_NAMES]:
        try:
            addresses.append(ip_address(word))
        except ValueError:
            hosts.append(word)
    return ServingNames(
        values[options.SERVICE],
        namespace,
        cluster_domain=values[options.CLUSTER_DOMAIN],
        hosts=tuple(hosts),
        addresses=tuple(addresses),
    )


def _required(values: Values, setting: Setting[Path | None]) -> Path:
    path = values[setting]
    if path is None:
        raise ConfigurationError(f"{setting.flag} is needed: {setting.help}")
    return path
