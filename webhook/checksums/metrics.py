"""Metrics of checksums."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

#: From a patch that follows at once to one that waited for a place.
_ROLLOUT_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_READ_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ChecksumMetrics:
    """Metrics of decisions at admission, and of reads of Secrets and ConfigMaps.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "rollonce_checksum_decisions_total",
            "Writes of workloads decided, by kind and outcome (unchanged, patched, held, released, yielded, refused).",
            ("kind", "outcome"),
            registry=registry,
        )
        self.findings = Counter(
            "rollonce_checksum_findings_total",
            "Findings at writes of workloads: missing, disappeared or unreadable objects, malformed words.",
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
            buckets=_READ_BUCKETS,
            registry=registry,
        )


class RolloutMetrics:
    """Metrics of the rollouts that the controller starts.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.patches = Counter(
            "rollonce_rollout_patches",
            "Patches of workloads, by kind, reason (changed, removed, released, kept) and outcome (written, reverted, "
            "conflict, vanished, refused, unknown).",
            ("kind", "reason", "outcome"),
            registry=registry,
        )
        self.seconds = Histogram(
            "rollonce_rollout_change_seconds",
            "Time from the first notice of a change to the patch of a workload, by kind.",
            ("kind",),
            buckets=_ROLLOUT_BUCKETS,
            registry=registry,
        )
        self.findings = Counter(
            "rollonce_rollout_noticed",
            "Findings about workloads, each counted once: held, missing, disappeared, unreadable, malformed, stopped, "
            "stalled, reverted.",
            ("what",),
            registry=registry,
        )
        self.queued = Gauge(
            "rollonce_rollout_queued",
            "Workloads that wait for a place in a wave, by namespace.",
            ("namespace",),
            registry=registry,
        )
        self.stopped = Gauge(
            "rollonce_rollout_stopped",
            "Waves stopped by a failed rollout, by namespace.",
            ("namespace",),
            registry=registry,
        )
        self.workloads = Gauge("rollonce_rollout_workloads", "Workloads that are opted in.", registry=registry)
        self.digests = Gauge("rollonce_rollout_digests", "Checksums of objects that are cached.", registry=registry)
