"""What is told of certificates, and the alerts that are made of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tests.certs.samples import authority, pair
from webhook.certificates.metrics import RotationMetrics, ServingMetrics
from webhook.controller.metrics import ElectionMetrics

ALERTS = Path(__file__).resolve().parents[3] / "deploy" / "dashboards" / "alerts.yaml"
REMAINING = "rollonce_certificate_remaining_seconds"


def test_the_leaf_s_remaining_time_counts_down() -> None:
    """It is computed when it is asked for, from the leaf that was taken last."""
    registry = CollectorRegistry()
    metrics = ServingMetrics(registry)
    now = datetime.now(UTC)
    ca = authority(now=now)
    for lifetime in (timedelta(hours=1), timedelta(hours=5)):
        metrics.serve(pair(ca, now=now, lifetime=lifetime).leaf)
        remaining = registry.get_sample_value(REMAINING, {"certificate": "leaf"})
        assert remaining == pytest.approx(lifetime.total_seconds(), abs=60)
    assert registry.get_sample_value("rollonce_certificate_renewals_total") == 2


def test_only_the_cas_that_there_are_are_told_of() -> None:
    """A next one comes and goes; whoever no longer rotates tells of none."""
    registry = CollectorRegistry()
    metrics = RotationMetrics(registry)

    def told() -> set[str]:
        return {
            sample.labels["certificate"]
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == REMAINING
        }

    certificate = authority(now=datetime.now(UTC)).certificate
    metrics.hold({"ca": certificate})
    assert told() == {"ca"}
    metrics.hold({"ca": certificate, "next": certificate})
    assert told() == {"ca", "next"}
    metrics.hold({"ca": certificate})
    assert told() == {"ca"}
    metrics.published.set(1)
    metrics.forget()
    assert told() == set()
    assert registry.get_sample_value("rollonce_certificate_bundle_published") == 0


def alerts() -> list[dict[str, Any]]:
    """The rules that are deployed."""
    groups = yaml.safe_load(ALERTS.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_ask_for_metrics_that_exist() -> None:
    """Each metric that a rule names is one that the programs tell."""
    serving, rotating = CollectorRegistry(), CollectorRegistry()
    ServingMetrics(serving)
    RotationMetrics(rotating)
    ElectionMetrics(rotating)
    names = set[str]()
    for registry in (serving, rotating):
        for metric in registry.collect():
            names |= {metric.name, f"{metric.name}_total"}
    for rule in alerts():
        if "certificate" in rule["expr"].lower():
            asked = set(re.findall(r"rollonce_\w+", rule["expr"]))
            assert asked <= names, rule["alert"]
            assert asked


def test_alerts_say_what_happened_and_what_to_do() -> None:
    """Each has a severity, a summary and a description, and a name of its own."""
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
