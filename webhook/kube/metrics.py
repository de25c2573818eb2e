"""Metrics of leader election, watches and work queues."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from webhook.runtime.metrics import LATENCY_BUCKETS


class ElectionMetrics:
    """Metrics of electors, by Lease.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leading = Gauge(
            "rollonce_leader", "Whether this replica leads (1) or not (0), by Lease.", ["lease"], registry=registry
        )
        self.changes = Counter(
            "rollonce_leader_changes",
            "Changes of leadership of this replica, by Lease and change (acquired, lost, released).",
            ["lease", "change"],
            registry=registry,
        )
        self.failures = Counter(
            "rollonce_leader_failures", "Failed reads and renewals of a Lease.", ["lease"], registry=registry
        )


class WatchMetrics:
    """Metrics of watches, by the plural name of the resource; several watches of one resource are added up.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.objects = Gauge("rollonce_watch_objects", "Objects held by informers.", ["resource"], registry=registry)
        self.behind = Gauge(
            "rollonce_watch_behind",
            "Watches that are not connected now, so that what they report may be out of date.",
            ["resource"],
            registry=registry,
        )
        self.events = Counter(
            "rollonce_watch_events", "Watch events, by type.", ["resource", "type"], registry=registry
        )
        self.lists = Counter("rollonce_watch_lists", "Complete lists read.", ["resource"], registry=registry)
        self.failures = Counter(
            "rollonce_watch_failures",
            "Failed lists and watches, by reason (gone, refused, broken, sink), and objects that cannot be decoded "
            "(object).",
            ["resource", "reason"],
            registry=registry,
        )


class QueueMetrics:
    """Metrics of work queues, by the queue's name.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.keys = Gauge("rollonce_queue_keys", "Keys that wait or are being processed.", ["queue"], registry=registry)
        self.working = Gauge("rollonce_queue_working", "Keys being processed now.", ["queue"], registry=registry)
        self.done = Counter(
            "rollonce_queue_done",
            "Keys processed, by outcome (done, again, retry, defect).",
            ["queue", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "rollonce_queue_work_seconds",
            "Time to process one key.",
            ["queue"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
