"""What the controller tells of its leadership, its watches and its queues."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from webhook.metrics import LATENCY_BUCKETS


class ElectionMetrics:
    """What electors tell, by Lease.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leading = Gauge("rollonce_leader", "1 while this replica leads, by Lease.", ["lease"], registry=registry)
        self.changes = Counter(
            "rollonce_leader_changes",
            "Times that this replica began or ceased to lead, by Lease and change (acquired, lost, released).",
            ["lease", "change"],
            registry=registry,
        )
        self.failures = Counter(
            "rollonce_leader_failures", "Looks and renewals that failed, by Lease.", ["lease"], registry=registry
        )


class WatchMetrics:
    """What mirrors tell, by the plural name of what they watch; many mirrors of one resource are added up.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.objects = Gauge("rollonce_watch_objects", "Objects mirrored.", ["resource"], registry=registry)
        self.behind = Gauge(
            "rollonce_watch_behind",
            "Mirrors that may be behind, since they are not connected to a watch now.",
            ["resource"],
            registry=registry,
        )
        self.events = Counter(
            "rollonce_watch_events", "Events of watches, by type.", ["resource", "type"], registry=registry
        )
        self.lists = Counter("rollonce_watch_lists", "Complete lists read.", ["resource"], registry=registry)
        self.failures = Counter(
            "rollonce_watch_failures",
            "Lists and watches that failed, by reason (gone, refused, broken), and odd objects (object).",
            ["resource", "reason"],
            registry=registry,
        )


class QueueMetrics:
    """What work queues tell, by the queue's name.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.keys = Gauge("rollonce_queue_keys", "Keys that wait or are worked on.", ["queue"], registry=registry)
        self.working = Gauge("rollonce_queue_working", "Keys being worked on.", ["queue"], registry=registry)
        self.done = Counter(
            "rollonce_queue_done",
            "Keys worked on, by outcome (done, again, retry, defect).",
            ["queue", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "rollonce_queue_work_seconds",
            "Time that the work on one key took.",
            ["queue"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
