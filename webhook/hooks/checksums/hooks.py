"""The webhooks of checksums, put together: one for each resource, all of the same code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from webhook.admission.hook import Hook, TypedHook
from webhook.clients.api import KubernetesApi
from webhook.hooks.checksums.core.workload import WorkloadObject
from webhook.hooks.checksums.handler import WorkloadMutator
from webhook.hooks.checksums.metrics import ChecksumMetrics
from webhook.hooks.checksums.registration import MUTATE_PREFIX
from webhook.hooks.checksums.settings import ChecksumSettings
from webhook.hooks.checksums.sources import SourceReader

#: The workloads that are served, by the plural names of their resources in the API group `apps`.
RESOURCES: Final = ("deployments", "statefulsets", "daemonsets")


def hooks(
    settings: ChecksumSettings | Callable[[], ChecksumSettings],
    api: KubernetesApi,
    *,
    clock: Callable[[], float],
    log: FilteringBoundLogger,
    metrics: ChecksumMetrics,
) -> tuple[Hook, ...]:
    """Build the webhooks `/mutate/deployments`, `/mutate/statefulsets` and `/mutate/daemonsets`.

    Args:
        settings: The settings, or what returns the current ones at each request where changes need no restart.
        api: The API server, as the webhook's ServiceAccount: get of the Secrets and ConfigMaps in question.
        clock: A monotonic clock, in seconds.
        log: Gets a line for each write that was more than nothing to do.
        metrics: Counts.
    """
    current = settings if callable(settings) else lambda: settings
    reader = SourceReader(current, api, clock=clock, metrics=metrics)
    mutator = WorkloadMutator(current, reader, log=log, metrics=metrics)
    return tuple(
        TypedHook(MUTATE_PREFIX + resource, f"mutate-{resource}", WorkloadObject, mutator) for resource in RESOURCES
    )
