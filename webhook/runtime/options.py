"""Settings that belong to no single feature: network, Kubernetes, names of the installation, log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from webhook.errors import ConfigurationError
from webhook.runtime import parsers
from webhook.runtime.log import LEVELS
from webhook.runtime.settings import Setting, Settings

#: Where a pod finds the name of its namespace.
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

LISTEN = Setting("listen", parsers.address, ":8443", "Address of the admission server (TLS).")
HEALTH_LISTEN = Setting(
    "health.listen", parsers.address, ":8080", "Address of /livez, /readyz and /metrics (plain HTTP)."
)
DRAIN = Setting(
    "drain",
    parsers.duration_between(0, 600),
    "15s",
    "How long to go on serving after SIGTERM. Keep it below the pod's terminationGracePeriodSeconds.",
)
IN_FLIGHT = Setting(
    "limits.inFlight",
    parsers.integer_between(1, 100_000),
    "512",
    "Reviews that are processed at a time; further ones are answered by 429 and sent again.",
)
KUBECONFIG = Setting(
    "kubeconfig", parsers.text_value, "", "Path of a kubeconfig; by default the pod's ServiceAccount.", "KUBECONFIG"
)
CONTEXT = Setting("context", parsers.text_value, "", "Context of the kubeconfig; by default its current one.")
LOG_LEVEL = Setting("log.level", parsers.one_of(*LEVELS), "info", f"Lowest level that is logged: {', '.join(LEVELS)}.")
LOG_FORMAT = Setting(
    "log.format", parsers.one_of("json", "console"), "json", "Form of the log: json for programs, console for people."
)
NAMESPACE = Setting(
    "namespace",
    parsers.dns_label_or_none,
    "",
    "Namespace of this installation; by default that of the pod.",
    "POD_NAMESPACE",
)
SERVICE = Setting("service", parsers.dns_label, "rollonce", "Service by which the API server calls rollonce.")
CLUSTER_DOMAIN = Setting("clusterDomain", parsers.text_value, "cluster.local", "DNS domain of the cluster.")
CONFIGURATIONS = Setting(
    "webhooks.names", parsers.words, "rollonce", "Names of the webhook configurations, mutating and validating."
)
WEBHOOKS_URL = Setting(
    "webhooks.url",
    parsers.https_url,
    "",
    "The URL in the webhook configurations, if they call rollonce by URL instead of the Service: https://host:port.",
)
LEASE = Setting(
    "controller.lease", parsers.text_value, "rollonce-controller", "Lease by which the controllers elect a leader."
)

LOGGING: Final = (LOG_LEVEL, LOG_FORMAT)
KUBERNETES: Final = (KUBECONFIG, CONTEXT)
#: What identifies an installation: the namespace, the Service, and the webhook configurations.
INSTALLATION: Final[tuple[Setting[Any], ...]] = (NAMESPACE, SERVICE, CLUSTER_DOMAIN, CONFIGURATIONS, WEBHOOKS_URL)
SERVER: Final[tuple[Setting[Any], ...]] = (
    LISTEN,
    HEALTH_LISTEN,
    DRAIN,
    IN_FLIGHT,
    *KUBERNETES,
    *INSTALLATION,
    *LOGGING,
)
CONTROLLER: Final[tuple[Setting[Any], ...]] = (HEALTH_LISTEN, *KUBERNETES, *INSTALLATION, LEASE, *LOGGING)


def own_namespace(settings: Settings, *, file: Path = NAMESPACE_FILE) -> str:
    """Return the namespace of this installation.

    Args:
        settings: The settings.
        file: Where a pod finds its namespace.

    Raises:
        ConfigurationError: It was not given, and this is not a pod.
    """
    if given := settings[NAMESPACE]:
        return given
    try:
        return file.read_text().strip()
    except OSError:
        raise ConfigurationError(
            f"The namespace of this installation is unknown, because this is not a pod. Give it by {NAMESPACE.flag}."
        ) from None


def required_path(settings: Settings, setting: Setting[Path | None]) -> Path:
    """Return the path in a setting.

    Raises:
        ConfigurationError: None is given.
    """
    path = settings[setting]
    if path is None:
        raise ConfigurationError(f"{setting.flag} is required: {setting.help}")
    return path


def required_file(settings: Settings, setting: Setting[Path | None]) -> bytes:
    """Return the contents of the file in a setting.

    Raises:
        ConfigurationError: None is given, or it cannot be read.
    """
    path = required_path(settings, setting)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{settings.source(setting)}: cannot read {path}: {error.strerror}.") from None
