"""The Grafana dashboard, from a table of its panels, for `tests.generate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
#: Of the installation; a label of the target. A metric's own label `namespace` becomes `exported_namespace` by that.
_HERE: Final = 'namespace="$namespace"'
_COLUMNS: Final = 24
_HEIGHT: Final = 7


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        title: What it shows.
        description: What to look for in it.
        queries: Legends, each with its expression.
        unit: Unit of Grafana.
        width: Columns, of 24.
        red: For one number: the lowest value that is a problem, or with a minus sign the highest; None for a graph.
    """

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    width: int = 8
    red: float | None = None


def rate(metric: str, by: str) -> str:
    """Return the rate of a counter, by labels."""
    return f"sum by ({by}) (rate({metric}{{{_HERE}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "") -> str:
    """Return a quantile of a histogram, by labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels)})"


def value(function: str, metric: str, by: str = "", where: str = "") -> str:
    """Return an aggregate of a gauge, by labels."""
    group = f" by ({by})" if by else ""
    return f"{function}{group} ({metric}{{{_HERE}{where}}})"


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Now": (
        Panel(
            "Servers",
            "Servers whose metrics are read.",
            {"": value("count", "rollonce_admission_in_flight")},
            width=4,
            red=-1,
        ),
        Panel("Leaders", "Has to be 1.", {"": value("sum", "rollonce_leader")}, width=4, red=-0.5),
        Panel(
            "Serving certificate",
            "What is left of the one that ends first.",
            {"": value("min", "rollonce_certificate_remaining_seconds", where=', certificate="leaf"')},
            unit="s",
            width=4,
            red=-4 * 3600,
        ),
        Panel("Servers without Redis", "", {"": value("sum", "rollonce_dedupe_store_down")}, width=4, red=1),
        Panel(
            "Buckets without all records",
            "Of 64.",
            {"": value("max", "rollonce_dedupe_unsynced_buckets")},
            width=4,
            red=1,
        ),
        Panel(
            "Webhooks that differ from the settings",
            "`rollonce webhooks --check` names them.",
            {"": value("max", "rollonce_registration_differences")},
            width=4,
            red=1,
        ),
    ),
    "Admission": (
        Panel(
            "Reviews",
            "Answered, by webhook and outcome.",
            {"{{webhook}} {{outcome}}": rate("rollonce_admission_requests_total", "webhook, outcome")},
            unit="reqps",
        ),
        Panel(
            "Time of a review, 99 %",
            "The API server waits for 5 s at most.",
            {"{{webhook}}": quantile(0.99, "rollonce_admission_seconds", "webhook")},
            unit="s",
        ),
        Panel(
            "Refused requests and closed connections",
            "By status and reason.",
            {
                "{{status}}": rate("rollonce_http_refused_total", "status"),
                "{{reason}}": rate("rollonce_connections_closed_total", "reason"),
            },
            unit="reqps",
        ),
    ),
    "Rollouts": (
        Panel(
            "Patches by the controller",
            "By reason and outcome.",
            {"{{reason}} {{outcome}}": rate("rollonce_rollout_patches_total", "reason, outcome")},
            unit="ops",
        ),
        Panel(
            "From a change to the patch",
            "With `maxConcurrent` it has the time that a workload waits for others.",
            {
                "50 %": quantile(0.5, "rollonce_rollout_change_seconds"),
                "99 %": quantile(0.99, "rollonce_rollout_change_seconds"),
            },
            unit="s",
        ),
        Panel(
            "Waves",
            "Workloads that wait, and waves that a failed rollout has stopped (`rollonce checksums resume`).",
            {
                "waiting in {{exported_namespace}}": value("sum", "rollonce_rollout_queued", "exported_namespace"),
                "stopped in {{exported_namespace}}": value("sum", "rollonce_rollout_stopped", "exported_namespace"),
            },
        ),
        Panel(
            "Opted in",
            "Workloads that the leader knows.",
            {"workloads": value("max", "rollonce_rollout_workloads")},
        ),
        Panel(
            "Findings",
            "Held, missing, unreadable, stopped and others, by the controller and at writes.",
            {
                "{{what}}": rate("rollonce_rollout_noticed_total", "what"),
                "{{finding}} (write)": rate("rollonce_checksum_findings_total", "finding"),
            },
            unit="ops",
        ),
        Panel(
            "Reads of Secrets and ConfigMaps, 99 %",
            "By servers, while a client waits.",
            {"read": quantile(0.99, "rollonce_checksum_read_seconds")},
            unit="s",
        ),
    ),
    "Deliveries": (
        Panel(
            "Creates by outcome",
            "`duplicate` is the promise; `unavailable` is a 503 that the client tries again.",
            {"{{outcome}}": rate("rollonce_dedupe_decisions_total", "outcome")},
            unit="reqps",
        ),
        Panel(
            "Redis and reads of runs, 99 %",
            "Calls to Redis, and quorum reads of the API server.",
            {
                "Redis": quantile(0.99, "rollonce_dedupe_store_seconds"),
                "API server": quantile(0.99, "rollonce_dedupe_api_seconds"),
            },
            unit="s",
        ),
        Panel(
            "Errors and doubts",
            "Failed calls; creates allowed without a record or without a proof; duplicates with other parameters.",
            {
                "Redis failed": rate("rollonce_dedupe_store_errors_total", "namespace"),
                "API server failed": rate("rollonce_dedupe_api_errors_total", "namespace"),
                "without a record": rate("rollonce_dedupe_degraded_total", "namespace"),
                "without a proof": rate("rollonce_dedupe_unproved_total", "namespace"),
                "other parameters": rate("rollonce_dedupe_payload_mismatches_total", "namespace"),
            },
            unit="ops",
        ),
    ),
    "Certificates and controller": (
        Panel(
            "Remaining validity",
            "A serving certificate is replaced when 8 of 24 hours are left, the CA after two thirds of its time.",
            {"{{certificate}} {{pod}}": value("min", "rollonce_certificate_remaining_seconds", "certificate, pod")},
            unit="s",
        ),
        Panel(
            "Failures of certificates",
            "By reason; the runbook has them.",
            {"{{reason}}": rate("rollonce_certificate_failures_total", "reason")},
            unit="ops",
        ),
        Panel(
            "Watches and queues",
            "Watches that are not connected, and keys that wait or are processed.",
            {
                "behind {{resource}}": value("sum", "rollonce_watch_behind", "resource"),
                "{{queue}}": value("sum", "rollonce_queue_keys", "queue"),
            },
        ),
    ),
}


def dashboard() -> str:
    """Return the dashboard as JSON."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place})
        top, left = top + 1, 0
        height = _HEIGHT if row[0].red is None else 4
        for panel in row:
            if left + panel.width > _COLUMNS:
                top, left = top + height, 0
            panels.append(_panel(panel) | {"gridPos": {"h": height, "w": panel.width, "x": left, "y": top}})
            left += panel.width
        top += height
    document = {
        "title": "rollonce",
        "uid": "rollonce",
        "description": "Made from the code by `make generate`.",
        "tags": ["rollonce"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.red is not None:
        colors = ("green", "red") if panel.red > 0 else ("red", "green")
        steps = [{"color": colors[0], "value": None}, {"color": colors[1], "value": abs(panel.red)}]
        defaults = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "type": "timeseries" if panel.red is None else "stat",
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _DATASOURCE, "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def _variables() -> list[dict[str, Any]]:
    query = "label_values(rollonce_admission_in_flight, namespace)"
    namespace = {"name": "namespace", "type": "query", "datasource": _DATASOURCE, "query": query, "refresh": 2}
    return [{"name": "datasource", "type": "datasource", "query": "prometheus"}, namespace]
