"""The metrics of certificates, and the alerts that use them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tests.certs.samples import authority, pair
from webhook.kube.metrics import ElectionMetrics
from webhook.runtime.clock import Clock
from webhook.tls.metrics import RotationMetrics, ServingMetrics

ALERTS = Path(__file__).resolve().parents[3] / "deploy" / "dashboards" / "alerts.yaml"
REMAINING = "rollonce_certificate_remaining_seconds"


def test_the_remaining_time_is_that_of_the_last_leaf() -> None:
    """It is computed when the metric is read."""
    registry = CollectorRegistry()
    metrics = ServingMetrics(registry, Clock())
    now = datetime.now(UTC)
    ca = authority(now=now)
    for lifetime in (timedelta(hours=1), timedelta(hours=5)):
        metrics.loaded(pair(ca, now=now, lifetime=lifetime).leaf)
        remaining = registry.get_sample_value(REMAINING, {"certificate": "leaf"})
        assert remaining == pytest.approx(lifetime.total_seconds(), abs=60)
    assert registry.get_sample_value("rollonce_certificate_renewals_total") == 2


def test_only_existing_cas_are_shown() -> None:
    """A next CA appears and disappears; a replica that no longer rotates shows none."""
    registry = CollectorRegistry()
    metrics = RotationMetrics(registry, Clock())

    def shown() -> set[str]:
        return {
            sample.labels["certificate"]
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == REMAINING
        }

    certificate = authority(now=datetime.now(UTC)).certificate
    metrics.set_authorities({"ca": certificate})
    assert shown() == {"ca"}
    metrics.set_authorities({"ca": certificate, "next": certificate})
    assert shown() == {"ca", "next"}
    metrics.set_authorities({"ca": certificate})
    assert shown() == {"ca"}
    metrics.published.set(1)
    metrics.reset()
    assert shown() == set()
    assert registry.get_sample_value("rollonce_certificate_bundle_published") == 0


def alerts() -> list[dict[str, Any]]:
    """Return the alert rules of the deployment."""
    groups = yaml.safe_load(ALERTS.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_use_metrics_that_exist() -> None:
    """Each metric in a rule is one of the programs."""
    serving, rotating = CollectorRegistry(), CollectorRegistry()
    ServingMetrics(serving, Clock())
    RotationMetrics(rotating, Clock())
    ElectionMetrics(rotating)
    names = set[str]()
    for registry in (serving, rotating):
        for metric in registry.collect():
            names |= {metric.name, f"{metric.name}_total"}
    for rule in alerts():
        if "certificate" in rule["expr"].lower():
            used = set(re.findall(r"rollonce_\w+", rule["expr"]))
            assert used <= names, rule["alert"]
            assert used


def test_alerts_say_what_happened_and_what_to_do() -> None:
    """Each has its own name, a severity, a summary and a description."""
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
