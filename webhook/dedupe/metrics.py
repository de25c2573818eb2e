"""Metrics of deduplication."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class DedupeMetrics:
    """Metrics of deduplication.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "rollonce_dedupe_decisions_total", "Creates decided, by outcome.", ("outcome",), registry=registry
        )
        self.mismatches = Counter(
            "rollonce_dedupe_payload_mismatches_total",
            "Duplicates whose parameters differ from those of the first create.",
            registry=registry,
        )
        self.degraded = Counter(
            "rollonce_dedupe_degraded_total",
            "Creates allowed without a record, because Redis did not answer.",
            registry=registry,
        )
        self.store_down = Gauge(
            "rollonce_dedupe_store_down",
            "Whether the last call to Redis failed, so that onRedisDown decides (1), or not (0).",
            registry=registry,
        )
        self.unacknowledged = Counter(
            "rollonce_dedupe_unacknowledged_total",
            "Reservations that too few replicas of Redis acknowledged in time.",
            registry=registry,
        )
        self.unproved = Counter(
            "rollonce_dedupe_unproved_total",
            "Creates allowed although it is unknown whether the run of an earlier create was deleted (onUnproved).",
            registry=registry,
        )
        self.trusted = Gauge(
            "rollonce_dedupe_state_trusted",
            "Whether the state at the API server is known and no other replica admits creates without Redis (1).",
            registry=registry,
        )
        self.pending_reads = Counter(
            "rollonce_dedupe_pending_reads_total",
            "Reads of runs whose creates were allowed and not confirmed, by consequence.",
            ("consequence",),
            registry=registry,
        )
        self.postponed_confirmations = Gauge(
            "rollonce_dedupe_postponed_confirmations",
            "Deletions of runs that were not noted yet, because Redis did not answer.",
            registry=registry,
        )
        self.recall_size = Gauge(
            "rollonce_dedupe_recall_deliveries",
            "Deliveries that this replica remembers for the time when Redis does not answer.",
            registry=registry,
        )
        self.recall_complete = Gauge(
            "rollonce_dedupe_recall_complete",
            "Whether this replica remembers all deliveries (1); otherwise it admits none while Redis does not answer.",
            registry=registry,
        )
        self.recall_behind = Gauge(
            "rollonce_dedupe_recall_behind",
            "Reservations of other replicas that this replica has not read yet.",
            registry=registry,
        )
        self.findings = Gauge(
            "rollonce_dedupe_store_findings",
            "Reasons why the configuration or state of Redis is unsafe; the log has them as text.",
            registry=registry,
        )
        self.store_errors = Counter("rollonce_dedupe_store_errors_total", "Failed calls to Redis.", registry=registry)
        self.api_errors = Counter(
            "rollonce_dedupe_api_errors_total", "Failed quorum reads of runs from the API server.", registry=registry
        )
        self.confirmations = Counter(
            "rollonce_dedupe_confirmations_total",
            "Records confirmed, by what read the run (watch, delete, look, pending, rebuild).",
            ("by",),
            registry=registry,
        )
        self.rebuilds = Counter(
            "rollonce_dedupe_rebuilds_total",
            "Rebuilds of the store from the API server, by end (done, overtaken by another loss, failed).",
            ("end",),
            registry=registry,
        )
        self.unsynced_buckets = Gauge(
            "rollonce_dedupe_unsynced_buckets",
            "Buckets of the store that may lack records; if they have none, the API server is read.",
            registry=registry,
        )
        self.rebuild_runs = Gauge(
            "rollonce_dedupe_rebuild_runs", "Runs read so far by the present or last rebuild.", registry=registry
        )
        self.store_seconds = Histogram(
            "rollonce_dedupe_store_seconds", "Time of a call to Redis.", buckets=_BUCKETS, registry=registry
        )
        self.api_seconds = Histogram(
            "rollonce_dedupe_api_seconds",
            "Time of the quorum reads of a create from the API server.",
            buckets=_BUCKETS,
            registry=registry,
        )
