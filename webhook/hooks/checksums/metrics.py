"""Metrics of checksums."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ChecksumMetrics:
    """The counters of this webhook.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "rollonce_checksum_decisions_total",
            "Writes of workloads decided, by kind and outcome (unchanged, patched, held, released, refused).",
            ("kind", "outcome"),
            registry=registry,
        )
        self.findings = Counter(
            "rollonce_checksum_findings_total",
            "What was noticed at writes of workloads: missing, disappeared or unreadable objects, malformed words.",
            ("finding",),
            registry=registry,
        )
        self.reads = Counter(
            "rollonce_checksum_reads_total",
            "Reads of Secrets and ConfigMaps, by kind and outcome (found, absent, unreadable).",
            ("kind", "outcome"),
            registry=registry,
        )
        self.read_seconds = Histogram(
            "rollonce_checksum_read_seconds",
            "Time of one read of a Secret or ConfigMap.",
            buckets=_BUCKETS,
            registry=registry,
        )
