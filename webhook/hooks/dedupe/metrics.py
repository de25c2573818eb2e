"""Metrics of deduplication."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class DedupeMetrics:
    """The counters of this webhook.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "rollonce_dedupe_decisions_total", "Creates decided, by outcome.", ("outcome",), registry=registry
        )
        self.mismatches = Counter(
            "rollonce_dedupe_payload_mismatches_total",
            "Duplicates whose parameters differ from the first create's.",
            registry=registry,
        )
        self.degraded = Counter(
            "rollonce_dedupe_degraded_total", "Creates admitted without the store's word.", registry=registry
        )
        self.store_down = Gauge(
            "rollonce_dedupe_store_down", "1 while Redis fails and onRedisDown decides.", registry=registry
        )
        self.unacknowledged = Counter(
            "rollonce_dedupe_unacknowledged_total",
            "Reservations that too few replicas of Redis acknowledged in time.",
            registry=registry,
        )
        self.findings = Gauge(
            "rollonce_dedupe_store_findings", "What makes the store unsafe, as the log says it.", registry=registry
        )
        self.store_errors = Counter("rollonce_dedupe_store_errors_total", "Calls that Redis failed.", registry=registry)
        self.api_errors = Counter(
            "rollonce_dedupe_api_errors_total", "Reads of runs that the API server failed.", registry=registry
        )
        self.confirmations = Counter(
            "rollonce_dedupe_confirmations_total",
            "Records confirmed, by what showed the run.",
            ("by",),
            registry=registry,
        )
        self.rebuilds = Counter(
            "rollonce_dedupe_rebuilds_total",
            "Rebuilds of the store from the API server, by end.",
            ("end",),
            registry=registry,
        )
        self.doubted_buckets = Gauge(
            "rollonce_dedupe_doubted_buckets", "Buckets of the store whose misses are checked live.", registry=registry
        )
        self.rebuild_runs = Gauge(
            "rollonce_dedupe_rebuild_runs", "Runs read so far by the rebuild under way.", registry=registry
        )
        self.store_seconds = Histogram(
            "rollonce_dedupe_store_seconds", "Time of a call to Redis.", buckets=_BUCKETS, registry=registry
        )
        self.api_seconds = Histogram(
            "rollonce_dedupe_api_seconds", "Time of a live look at runs.", buckets=_BUCKETS, registry=registry
        )
