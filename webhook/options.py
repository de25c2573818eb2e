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
from webhook.clients.redis import RedisUrl, parse_url
from webhook.config import Setting, Values, read_file
from webhook.errors import ConfigurationError
from webhook.hooks.dedupe.settings import OnRedisDown
from webhook.log import LEVELS


def _redis_url(text: str) -> RedisUrl:
    try:
        return parse_url(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


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
DEDUPE_NAMESPACES = Setting(
    "dedupe.namespaces",
    values.dns_labels,
    "",
    "Namespaces whose runs are read when the store has lost its memory; by default all, which needs a right on all.",
)

LOGGING: Final = (LOG_LEVEL, LOG_FORMAT)
KUBERNETES: Final = (KUBECONFIG, CONTEXT)
SERVE: Final[tuple[Setting[Any], ...]] = (
    LISTEN,
    HEALTH_LISTEN,
    DRAIN,
    IN_FLIGHT,
    *KUBERNETES,
    TLS_CERTIFICATE,
    TLS_KEY,
    TLS_MINIMUM_VERSION,
    TLS_CLIENT_CA,
    TLS_CLIENT_NAMES,
    REDIS_URL,
    RETENTION,
    ON_REDIS_DOWN,
    STRICT,
    DEDUPE_NAMESPACES,
    *LOGGING,
)
#: Every setting of every long-running program: one file serves them all.
ALL: Final[tuple[Setting[Any], ...]] = SERVE
#: Parts of the file that are no plain settings and are read, and read again, by whoever they are for.
STRUCTURED: Final = frozenset[str]()


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
