"""The settings of deduplication."""

from __future__ import annotations

from datetime import timedelta

import pytest

from webhook.dedupe.settings import SETTINGS, DedupeSettings, OnRedisDown, dedupe_settings
from webhook.errors import ConfigurationError
from webhook.runtime.settings import Settings


def resolve(**flags: str) -> DedupeSettings:
    """Return the settings of deduplication for these flags."""
    return dedupe_settings(Settings(SETTINGS, flags=flags, environ={}))


def test_the_defaults_are_those_of_the_struct() -> None:
    """A test or a benchmark that gives no settings has the same ones as a program without flags."""
    assert resolve() == DedupeSettings()


def test_every_setting_has_its_effect() -> None:
    """The values of the flags are the values of the struct."""
    chosen = resolve(
        dedupe_retention_days="0.5",
        dedupe_on_redis_down="deny",
        dedupe_strict="true",
        dedupe_lease="30s",
        dedupe_namespaces="shop, cart",
    )
    assert chosen == DedupeSettings(
        timedelta(hours=12), OnRedisDown.DENY, strict=True, lease=timedelta(seconds=30), namespaces=("shop", "cart")
    )
    assert (chosen.watched_namespaces, resolve().watched_namespaces) == (("shop", "cart"), ("",))


def test_a_lease_as_long_as_the_retention_is_rejected() -> None:
    """The error names the source of the lease."""
    with pytest.raises(ConfigurationError, match="flag --dedupe-lease: the lease has to be shorter"):
        resolve(dedupe_lease="1h", dedupe_retention_days=str(1 / 24))
