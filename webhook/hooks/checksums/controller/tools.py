"""What the controller's side works with."""

from __future__ import annotations

from dataclasses import dataclass

from webhook.clients.api import KubernetesApi
from webhook.controller.metrics import QueueMetrics
from webhook.hooks.checksums.controller.telling import Teller
from webhook.hooks.checksums.controller.view import Watching
from webhook.hooks.checksums.metrics import ChecksumMetrics, RollMetrics


@dataclass(frozen=True, slots=True)
class Tools:
    """What the roller works with.

    Attributes:
        api: The API server, as the controller's ServiceAccount.
        watching: How collections are watched, over connections of their own.
        teller: Tells people.
        metrics: Counts.
        reads: Counts reads.
        queues: Counts work.
    """

    api: KubernetesApi
    watching: Watching
    teller: Teller
    metrics: RollMetrics
    reads: ChecksumMetrics
    queues: QueueMetrics
