"""The settings of deduplication: how each is declared, and their checked values together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final

from webhook.dedupe.core.decide import Policy
from webhook.dedupe.core.record import OLD_VERSION, VERSION
from webhook.dedupe.core.reservation import Rules
from webhook.dedupe.core.run import ORCHESTRATION_RUNS, Resource
from webhook.errors import ConfigurationError
from webhook.runtime import parsers
from webhook.runtime.settings import Setting, Settings
from webhook.store.url import RedisUrl, parse_url


class OnRedisDown(Enum):
    """Which creates are allowed while the store does not answer."""

    GENERATED = "generated"  # those whose name is the generated one, which storage keeps unique
    DENY = "deny"
    ALLOW = "allow"

    def policy(self, *, generated: bool) -> Policy:
        """Return what it says about a create, given whether its name is the generated name of its delivery."""
        if self is OnRedisDown.ALLOW:
            return Policy.ALWAYS
        return Policy.GO if self is OnRedisDown.GENERATED and generated else Policy.STOP


class OnUnproved(Enum):
    """What happens to a delivery whose create was allowed, and whose run nothing looked for soon afterwards."""

    ALLOW = "allow"  # if the run is absent after the lease, the next create is allowed, with a warning
    DENY = "deny"  # the next create is refused until an operator frees the delivery


def _redis_url(text: str) -> RedisUrl:
    try:
        url = parse_url(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    for name in filter(None, (url.ca, url.cert, url.key)):
        # The library reads the files only when it connects, and its error then names the server and not the file.
        try:
            Path(name).read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read {name}: {error.strerror}") from None
    return url


REDIS_URL = Setting(
    "redis.url",
    _redis_url,
    "redis://127.0.0.1:6379/0",
    "URL of the deduplication store: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://.",
    secret=True,
)
RETENTION = Setting(
    "dedupe.retentionDays",
    parsers.days_between(timedelta(hours=1), timedelta(days=365)),
    "7",
    "Days after a run's creation in which its deliveryId is refused; fractions allowed.",
    "JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS",
)
ON_REDIS_DOWN = Setting(
    "dedupe.onRedisDown",
    parsers.choice(OnRedisDown),
    "generated",
    "Which creates are allowed while Redis does not answer: generated (those by generateName), deny (none) or allow "
    "(all).",
)
STRICT = Setting(
    "dedupe.strict",
    parsers.boolean,
    "false",
    "Whether a known deliveryId with different parameters is refused by 422, and an unsafe Redis is not used.",
)
ON_UNPROVED = Setting(
    "dedupe.onUnproved",
    parsers.choice(OnUnproved),
    "allow",
    "What happens to a delivery whose run may have been stored and deleted unnoticed: allow (the next create is "
    "allowed, with a warning) or deny (it is refused until `rollonce runs forget`).",
)
STATE = Setting(
    "dedupe.state",
    parsers.object_name,
    "rollonce-state",
    "ConfigMap in the namespace of this installation that keeps what must outlive the servers and Redis.",
)
RECORD_FORMAT = Setting(
    "dedupe.recordFormat",
    parsers.integer_between(OLD_VERSION, VERSION),
    str(OLD_VERSION),
    "Format of new records: 1, which the release before this one reads too, or 2.",
)
RESERVATION_LEASE = Setting(
    "dedupe.lease",
    parsers.duration_between(1, 3600),
    "90s",
    "How long a create that was allowed may take to be stored: longer than the API server's --request-timeout (60s).",
)
DEDUPE_NAMESPACES = Setting(
    "dedupe.namespaces",
    parsers.dns_labels,
    "",
    "Namespaces whose runs are watched, and read after Redis has lost records; by default all, which needs a "
    "ClusterRole.",
)

#: The settings of deduplication that both programs read.
SETTINGS: Final[tuple[Setting[Any], ...]] = (
    REDIS_URL,
    RETENTION,
    ON_REDIS_DOWN,
    STRICT,
    ON_UNPROVED,
    RESERVATION_LEASE,
    RECORD_FORMAT,
    DEDUPE_NAMESPACES,
)


@dataclass(frozen=True, slots=True)
class DedupeSettings:
    """The checked settings of deduplication.

    Attributes:
        retention: How long a run counts, from its creation: an hour to 365 days.
        on_redis_down: Which creates are allowed while Redis does not answer.
        strict: Whether different parameters under a known deliveryId are refused by 422, and an unsafe store is not
            used.
        on_unproved: What happens to a delivery of which it is unknown whether its run was stored and deleted.
        record_format: The version of new records.
        lease: How long a create that was allowed may take to be stored; it must be longer than the API server's
            `--request-timeout` (60 s by default).
        look_pause: Time between two reads of the API server while another create may be stored.
        namespaces: The namespaces that are served; empty for all.
        resource: The resource that is deduplicated.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    retention: timedelta = timedelta(days=7)
    on_redis_down: OnRedisDown = OnRedisDown.GENERATED
    strict: bool = False
    on_unproved: OnUnproved = OnUnproved.ALLOW
    record_format: int = OLD_VERSION
    lease: timedelta = timedelta(seconds=90)
    look_pause: timedelta = timedelta(milliseconds=100)
    namespaces: tuple[str, ...] = ()
    resource: Resource = ORCHESTRATION_RUNS

    def __post_init__(self) -> None:
        """Reject values that cannot work."""
        if not timedelta(hours=1) <= self.retention <= timedelta(days=365):
            raise ConfigurationError(
                "JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS has to be from one hour (0.0417) to 365 days, "
                f"not {self.retention.total_seconds() / 86400:g}."
            )
        if not timedelta(0) < self.lease < self.retention:
            raise ConfigurationError(
                "The lease of a reservation has to be longer than 0 and shorter than the retention."
            )

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """The namespaces to list and watch one by one; an empty name stands for all."""
        return self.namespaces or ("",)

    @property
    def lease_ms(self) -> int:
        """The lease in ms."""
        return int(self.lease.total_seconds() * 1000)

    @property
    def rules(self) -> Rules:
        """The settings that decisions depend on."""
        return Rules(self.lease_ms, trust_unproved=self.on_unproved is OnUnproved.ALLOW, strict=self.strict)

    @property
    def reservation_ttl_ms(self) -> int:
        """How long an unconfirmed reservation is kept: as long as its run would count, however late it is stored."""
        return int((self.retention + self.lease).total_seconds() * 1000)


def dedupe_settings(settings: Settings) -> DedupeSettings:
    """Return the settings of deduplication.

    Raises:
        ConfigurationError: Settings contradict each other.
    """
    lease = timedelta(seconds=settings[RESERVATION_LEASE])
    if lease >= settings[RETENTION]:
        raise ConfigurationError(
            f"{settings.source(RESERVATION_LEASE)}: the lease has to be shorter than the retention."
        )
    return DedupeSettings(
        retention=settings[RETENTION],
        on_redis_down=settings[ON_REDIS_DOWN],
        strict=settings[STRICT],
        on_unproved=settings[ON_UNPROVED],
        record_format=settings[RECORD_FORMAT],
        lease=lease,
        namespaces=settings[DEDUPE_NAMESPACES],
    )
