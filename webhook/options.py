"""Every setting of `rollonce serve` and `rollonce controller`, declared once.

The command line, the environment, the settings file and the documentation are made of these declarations.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from webhook import values
from webhook.certificates.settings import TlsMode
from webhook.clients.redis import RedisUrl, parse_url
from webhook.config import Setting, Values, read_file
from webhook.errors import ConfigurationError
from webhook.hooks.checksums import operator as checksums_operator
from webhook.hooks.checksums import options as checksums
from webhook.hooks.dedupe.settings import OnRedisDown
from webhook.log import LEVELS


def _redis_url(text: str) -> RedisUrl:
    try:
        url = parse_url(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    for name in filter(None, (url.ca, url.cert, url.key)):
        # The library finds out only when it connects, and then names the server and not the file.
        try:
            Path(name).read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read {name}: {error.strerror}") from None
    return url


LISTEN = Setting("listen", values.address, ":8443", "Where reviews are served, over TLS.")
HEALTH_LISTEN = Setting(
    "health.listen", values.address, ":8080", "Where /livez, /readyz and /metrics are served, in clear text."
)
DRAIN = Setting(
    "drain",
    values.duration_between(0, 600),
    "15s",
    "How long to go on serving after SIGTERM. Keep it below the pod's terminationGracePeriodSeconds.",
)
IN_FLIGHT = Setting(
    "limits.inFlight",
    values.integer_between(1, 100_000),
    "512",
    "Reviews being worked on at a time; more are answered with 429 and asked to come again.",
)
KUBECONFIG = Setting(
    "kubeconfig", values.text_value, "", "Path of a kubeconfig; by default the pod's ServiceAccount.", "KUBECONFIG"
)
CONTEXT = Setting("context", values.text_value, "", "Context of the kubeconfig; by default its current one.")
LOG_LEVEL = Setting("log.level", values.one_of(*LEVELS), "info", f"The least that is logged: {', '.join(LEVELS)}.")
LOG_FORMAT = Setting(
    "log.format", values.one_of("json", "console"), "json", "Form of the log: json for programs, console for people."
)
NAMESPACE = Setting(
    "namespace", values.dns_label_or_none, "", "Our own namespace; by default that of the pod.", "POD_NAMESPACE"
)
SERVICE = Setting("service", values.dns_label, "rollonce", "The Service by which the API server calls us.")
CLUSTER_DOMAIN = Setting("clusterDomain", values.text_value, "cluster.local", "The cluster's DNS domain.")
CONFIGURATIONS = Setting(
    "webhooks.names", values.words, "rollonce", "Names of the webhook configurations, mutating and validating."
)
WEBHOOKS_URL = Setting(
    "webhooks.url",
    values.https_url,
    "",
    "Where the configurations call us by URL instead of by the Service: https://host:port.",
)
TLS_MODE = Setting(
    "tls.mode",
    values.choice(TlsMode),
    "auto",
    "Who makes the serving certificate: self-managed (rollonce), files, secret (cert-manager or you), or auto: files "
    "if they are given, otherwise self-managed.",
)
TLS_SECRET = Setting(
    "tls.secret", values.text_value, "rollonce-tls", "In mode secret: the Secret with tls.crt, tls.key."
)
TLS_CA_SECRET = Setting("tls.caSecret", values.text_value, "rollonce-ca", "In mode self-managed: the CA's Secret.")
TLS_EXTRA_NAMES = Setting(
    "tls.extraNames", values.words, "", "In mode self-managed: more DNS names and IP addresses that we are called by."
)
_DAY = 86_400.0
TLS_CA_LIFETIME = Setting(
    "tls.caLifetime", values.duration_between(60, 3650 * _DAY), "8760h", "In mode self-managed: how long a CA lives."
)
TLS_LEAF_LIFETIME = Setting(
    "tls.leafLifetime",
    values.duration_between(2, 365 * _DAY),
    "24h",
    "In mode self-managed: how long a serving certificate lives; the same for all programs.",
)
TLS_SETTLE = Setting(
    "tls.settle",
    values.duration_between(0, 3600),
    "1m",
    "In mode self-managed: how long a new CA is published before it signs.",
)
TLS_MARGIN = Setting(
    "tls.margin",
    values.duration_between(0, _DAY),
    "10m",
    "In mode self-managed: by how much clocks may differ.",
)
TLS_CERTIFICATE = Setting(
    "tls.certificate", values.optional_path, "", "PEM file of the serving certificate and its chain."
)
TLS_KEY = Setting("tls.key", values.optional_path, "", "PEM file of the serving certificate's private key.")
TLS_MINIMUM_VERSION = Setting(
    "tls.minimumVersion", values.one_of("1.2", "1.3"), "1.3", "The oldest TLS version that is spoken: 1.2 or 1.3."
)
TLS_CLIENT_CA = Setting(
    "tls.clientCA",
    values.optional_path,
    "",
    "PEM file of the CA that callers' certificates have to be signed by; by default callers need none.",
)
TLS_CLIENT_NAMES = Setting(
    "tls.clientNames",
    values.words,
    "",
    "Names of which a caller's certificate has to carry one; by default any that the CA signed.",
)
REDIS_URL = Setting(
    "redis.url",
    _redis_url,
    "redis://127.0.0.1:6379/0",
    "The deduplication store: redis://, rediss:// unix://, redis+sentinel:// or redis+cluster://.",
    secret=True,
)
RETENTION = Setting(
    "dedupe.retentionDays",
    values.days_between(timedelta(hours=1), timedelta(days=365)),
    "7",
    "Days after a run's creation in which its deliveryId is refused; fractions allowed.",
    "JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS",
)
ON_REDIS_DOWN = Setting(
    "dedupe.onRedisDown",
    values.choice(OnRedisDown),
    "generated",
    "Which creates go on while Redis cannot be asked: generated (those by generateName), deny (none) or allow (all).",
)
STRICT = Setting(
    "dedupe.strict",
    values.boolean,
    "false",
    "Whether a known deliveryId with other parameters is an error of its own (422), and an unsafe Redis refused.",
)
RESERVATION_LEASE = Setting(
    "dedupe.lease",
    values.duration_between(1, 3600),
    "90s",
    "For how long a create that was allowed may be on its way: longer than the API server's --request-timeout (60s).",
)
DEDUPE_NAMESPACES = Setting(
    "dedupe.namespaces",
    values.dns_labels,
    "",
    "Namespaces whose runs are watched, and read when the store has lost its memory; by default all, which needs a "
    "right on all.",
)
LEASE = Setting(
    "controller.lease", values.text_value, "rollonce-controller", "The Lease that the controllers elect by."
)

LOGGING: Final = (LOG_LEVEL, LOG_FORMAT)
KUBERNETES: Final = (KUBECONFIG, CONTEXT)
#: What whoever looks after self-managed certificates has to agree on.
CERTIFICATES: Final[tuple[Setting[Any], ...]] = (
    NAMESPACE,
    SERVICE,
    CLUSTER_DOMAIN,
    CONFIGURATIONS,
    WEBHOOKS_URL,
    TLS_MODE,
    TLS_CERTIFICATE,
    TLS_KEY,
    TLS_SECRET,
    TLS_CA_SECRET,
    TLS_EXTRA_NAMES,
    TLS_CA_LIFETIME,
    TLS_LEAF_LIFETIME,
    TLS_SETTLE,
    TLS_MARGIN,
)
DEDUPLICATION: Final[tuple[Setting[Any], ...]] = (
    REDIS_URL,
    RETENTION,
    ON_REDIS_DOWN,
    STRICT,
    RESERVATION_LEASE,
    DEDUPE_NAMESPACES,
)
SERVE: Final[tuple[Setting[Any], ...]] = (
    LISTEN,
    HEALTH_LISTEN,
    DRAIN,
    IN_FLIGHT,
    *KUBERNETES,
    *CERTIFICATES,
    TLS_MINIMUM_VERSION,
    TLS_CLIENT_CA,
    TLS_CLIENT_NAMES,
    *DEDUPLICATION,
    *checksums.SHARED,
    *LOGGING,
)
CONTROLLER: Final[tuple[Setting[Any], ...]] = (
    HEALTH_LISTEN,
    *KUBERNETES,
    *CERTIFICATES,
    LEASE,
    *DEDUPLICATION,
    *checksums.CONTROLLER,
    *LOGGING,
)
#: Every setting of every program, each once: one file serves them all.
ALL: Final[tuple[Setting[Any], ...]] = tuple(dict.fromkeys(SERVE + CONTROLLER))
#: Parts of the file that are no plain settings and are read, and read again, by whoever they are for.
STRUCTURED: Final = checksums_operator.STRUCTURED


def resolve(
    flags: Mapping[str, str | None], *, config: Path | None, environ: Mapping[str, str] | None = None
) -> Values:
    """Find the value of each setting.

    Args:
        flags: What the command line gave, by `Setting.parameter`; None for what it did not.
        config: The settings file, if one was given.
        environ: The environment; the process's own by default.

    Raises:
        ConfigurationError: Something is wrong with one of them; the message names it and where it came from.
    """
    return Values(
        ALL,
        flags=flags,
        environ=os.environ if environ is None else environ,
        file=read_file(config) if config else None,
        file_name=str(config or ""),
        structured=STRUCTURED,
    )
