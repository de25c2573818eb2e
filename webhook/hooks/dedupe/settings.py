"""What can be set of deduplication."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from webhook.errors import ConfigurationError
from webhook.hooks.dedupe.core.resource import ORCHESTRATION_RUNS, Resource


class OnRedisDown(Enum):
    """Which creates go on while the store cannot be asked."""

    GENERATED = "generated"  # those whose name storage itself keeps unique
    DENY = "deny"
    ALLOW = "allow"

    def permits(self, *, generated: bool) -> bool:
        """Tell whether a create goes on, given whether its name is the delivery's generated one."""
        return self is OnRedisDown.ALLOW or (self is OnRedisDown.GENERATED and generated)


@dataclass(frozen=True, slots=True)
class DedupeSettings:
    """Settings of deduplication, checked.

    Attributes:
        retention: For how long a run counts, from its creation: an hour to 365 days.
        on_redis_down: Which creates go on while Redis cannot be asked.
        strict: Whether another payload under a known deliveryId is 422, and an unsafe store refused at start.
        lease: For how long a create that was allowed may still be on its way; has to be longer than the API server's
            `--request-timeout` (60 s unless set).
        look_pause: Between two looks at a create that is under way.
        namespaces: Those that are served; none means all.
        resource: The kind that is deduplicated.
    """

    retention: timedelta = timedelta(days=7)
    on_redis_down: OnRedisDown = OnRedisDown.GENERATED
    strict: bool = False
    lease: timedelta = timedelta(seconds=90)
    look_pause: timedelta = timedelta(milliseconds=100)
    namespaces: tuple[str, ...] = ()
    resource: Resource = ORCHESTRATION_RUNS

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: A value is out of its range.
        """
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
    def reservation_ttl_ms(self) -> int:
        """For how long an unproved reservation is kept: as long as its run would count, however late it is stored."""
        return int((self.retention + self.lease).total_seconds() * 1000)
