"""The registry, and the metrics of the admission server.

Each feature adds its own metrics to the same registry. None is global, so that two servers can run in one process.
"""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

#: From half a millisecond, the time of a decision, to the timeout of a webhook call.
LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def new_registry() -> CollectorRegistry:
    """Return a registry with the metrics of the process, its garbage collector and the platform."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class ServerMetrics:
    """Metrics of the admission server.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "rollonce_admission_requests",
            "Admission reviews answered, by webhook, operation, outcome and status code.",
            ["webhook", "operation", "outcome", "code"],
            registry=registry,
        )
        self.seconds = Histogram(
            "rollonce_admission_seconds",
            "Time from the complete request to the response, by webhook.",
            ["webhook"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "rollonce_admission_in_flight", "Admission reviews being processed now.", registry=registry
        )
        self.refused = Counter(
            "rollonce_http_refused",
            "Requests that were answered with an error status instead of a review, by status.",
            ["status"],
            registry=registry,
        )
        self.closed = Counter(
            "rollonce_connections_closed",
            "Connections that the server closed before their time, by reason: refused or evicted because there were "
            "too many, handshake (failed), header (not in time, or too long), pipelined.",
            ["reason"],
            registry=registry,
        )


class RegistrationMetrics:
    """Metrics of the webhook configurations.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.differences = Gauge(
            "rollonce_registration_differences",
            "Differences between the webhook configurations on the API server and those of the settings; not a number "
            "before the first comparison, and without the right to read them.",
            registry=registry,
        )
        self.differences.set(math.nan)
