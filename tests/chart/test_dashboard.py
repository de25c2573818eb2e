"""The dashboard and the alerts use what the programs measure, and the dashboard is one that Grafana can load."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tests.rollonce import ROOT
from webhook.checksums.metrics import ChecksumMetrics, RolloutMetrics
from webhook.dedupe.metrics import DedupeMetrics
from webhook.kube.metrics import ElectionMetrics, QueueMetrics, WatchMetrics
from webhook.runtime.clock import Clock
from webhook.runtime.metrics import RegistrationMetrics, ServerMetrics
from webhook.tls.metrics import RotationMetrics, ServingMetrics

FOLDER: Final = ROOT / "deploy" / "dashboards"
#: Labels that Prometheus adds, and that of buckets.
ADDED: Final = {"namespace", "pod", "le"}
#: How the names of the series of a metric end.
ENDINGS: Final[dict[type, tuple[str, ...]]] = {
    Counter: ("_total",),
    Gauge: ("",),
    Histogram: ("_bucket", "_sum", "_count"),
}


@pytest.fixture(scope="module")
def measured() -> dict[str, set[str]]:
    """Return the names of all series of both programs, each with its labels."""
    server, controller = CollectorRegistry(), CollectorRegistry()
    for metrics in (ServerMetrics, RegistrationMetrics, ChecksumMetrics, DedupeMetrics):
        metrics(server)
    ServingMetrics(server, Clock())
    for watching in (ElectionMetrics, WatchMetrics, QueueMetrics, RolloutMetrics):
        watching(controller)
    RotationMetrics(controller, Clock())
    found: dict[str, set[str]] = {}
    for registry in (server, controller):
        for collector, names in registry._collector_to_names.items():
            assert isinstance(collector, Counter | Gauge | Histogram)
            endings = ENDINGS[type(collector)]
            for name in names:
                if name.endswith(endings):
                    found.setdefault(name, set()).update(collector._labelnames)
    return found


def expressions() -> list[str]:
    """Return the expressions of all panels and alerts."""
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]["groups"]
    alerts = [rule["expr"] for group in groups for rule in group["rules"]]
    return [*alerts, *(target["expr"] for panel in panels() for target in panel.get("targets", ()))]


def panels() -> list[dict[str, Any]]:
    """Return the panels."""
    found: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_expressions_use_series_that_exist(measured: dict[str, set[str]], expression: str) -> None:
    """Each series and each label of a panel or of an alert is one that the programs have."""
    used = set(re.findall(r"rollonce_\w+", expression))
    assert used
    assert used <= measured.keys()
    known = ADDED.union(*(measured[name] for name in used))
    # A metric's own label that the target has too is renamed by Prometheus.
    known |= {f"exported_{label}" for name in used for label in measured[name] & ADDED}
    groups = re.findall(r"\b(?:by|on) \(([^)]+)\)", expression)
    assert {label.strip() for group in groups for label in group.split(",")} <= known
    assert set(re.findall(r"(\w+)=\"", expression)) <= known


def test_legends_name_labels_of_their_query() -> None:
    """A label in a legend is one that the query keeps."""
    for panel in panels():
        for target in panel.get("targets", ()):
            kept = {label.strip() for by in re.findall(r"by \(([^)]+)\)", target["expr"]) for label in by.split(",")}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept


def test_panels_have_their_places() -> None:
    """Ids are unique, and no panel overlaps another one or is too wide."""
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids) > 20
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
