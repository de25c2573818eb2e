"""Settings that belong to no single feature: network, Kubernetes, names of the installation, log."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from typing import Any, Final

from webhook.errors import ConfigurationError
from webhook.runtime import parsers
from webhook.runtime.log import LEVELS
from webhook.runtime.settings import Setting, Settings

#: Where a pod finds the name of its namespace.
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

LISTEN = Setting("listen", parsers.listen_address, ":8443", "Address of the admission server (TLS).")
HEALTH_LISTEN = Setting(
    "health.listen", parsers.listen_address, ":8080", "Address of /livez, /readyz and /metrics (plain HTTP)."
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
    "Reviews of one caller (by its address) that are processed at a time, of all callers twice as many; further ones "
    "are answered by 429 and sent again. One webhook gets three quarters of it, one namespace half.",
)
KUBECONFIG = Setting(
    "kubeconfig", parsers.path_text, "", "Path of a kubeconfig; by default the pod's ServiceAccount.", "KUBECONFIG"
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
CLUSTER_DOMAIN = Setting("clusterDomain", parsers.domain, "cluster.local", "DNS domain of the cluster.")
CONFIGURATIONS = Setting(
    "webhooks.names",
    parsers.some_object_names,
    "rollonce",
    "Names of the webhook configurations, mutating and validating; the first is the name under which they are printed.",
)
WEBHOOKS_URL = Setting(
    "webhooks.url",
    parsers.https_url,
    "",
    "The URL in the webhook configurations, if they call rollonce by URL instead of the Service: https://host:port.",
)
WEBHOOKS_CA_FILE = Setting(
    "webhooks.caFile",
    parsers.optional_path,
    "",
    "PEM file of the CA that is printed as caBundle; by default there is none, because it is injected.",
)
CONTROLLER_ACCOUNT = Setting(
    "controller.serviceAccount",
    parsers.object_name_or_none,
    "rollonce-controller",
    "ServiceAccount of the controller, in the namespace of this installation. Its own writes are not sent to the "
    "webhooks; if this is empty, they are.",
)
LEASE = Setting(
    "controller.lease", parsers.object_name, "rollonce-controller", "Lease by which the controllers elect a leader."
)

LOGGING: Final = (LOG_LEVEL, LOG_FORMAT)
KUBERNETES: Final = (KUBECONFIG, CONTEXT)
#: What identifies an installation: the namespace, the Service, and the webhook configurations.
INSTALLATION: Final[tuple[Setting[Any], ...]] = (NAMESPACE, SERVICE, CLUSTER_DOMAIN, CONFIGURATIONS, WEBHOOKS_URL)
#: What the webhook configurations are rendered from, beside the settings that features add.
REGISTRATION: Final[tuple[Setting[Any], ...]] = (
    NAMESPACE,
    SERVICE,
    CONFIGURATIONS,
    WEBHOOKS_URL,
    WEBHOOKS_CA_FILE,
    CONTROLLER_ACCOUNT,
)
SERVER: Final[tuple[Setting[Any], ...]] = (
    LISTEN,
    HEALTH_LISTEN,
    DRAIN,
    IN_FLIGHT,
    *KUBERNETES,
    *INSTALLATION,
    CONTROLLER_ACCOUNT,
    *LOGGING,
)
CONTROLLER: Final[tuple[Setting[Any], ...]] = (
    HEALTH_LISTEN,
    *KUBERNETES,
    *INSTALLATION,
    CONTROLLER_ACCOUNT,
    LEASE,
    *LOGGING,
)


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


def repair_command(settings: Settings, *, file: Path = NAMESPACE_FILE) -> str:
    """Return the shell command that applies the webhook configurations that the settings lead to.

    In a pod the command runs in that pod, so that it has the same release and the same settings.

    Args:
        settings: The settings.
        file: Where a pod finds its namespace.
    """
    command = ["rollonce", "webhooks", *settings.arguments(REGISTRATION)]
    if settings.file:
        command.append(f"--config={settings.file}")
    if file.exists():
        command = ["kubectl", "exec", "-n", own_namespace(settings, file=file), socket.gethostname(), "--", *command]
    return f"{shlex.join(command)} | kubectl apply -f -"


def required_file(settings: Settings, setting: Setting[Path | None]) -> bytes:
    """Return the contents of the file in a setting.

    Raises:
        ConfigurationError: None is given, or it cannot be read.
    """
    path = settings[setting]
    if path is None:
        raise ConfigurationError(f"{settings.source(setting)}: {setting.flag} is required: {setting.help}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{settings.source(setting)}: cannot read {path}: {error.strerror}.") from None
