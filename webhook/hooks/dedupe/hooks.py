"""The webhooks of deduplication, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from webhook.admission.hook import Hook, TypedHook
from webhook.clients.api import KubernetesApi
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.deletions import DeletionNoter
from webhook.hooks.dedupe.doubts import Doubts
from webhook.hooks.dedupe.inspect import Inspector
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.mutate import Mutator
from webhook.hooks.dedupe.rebuild import Rebuilder
from webhook.hooks.dedupe.registration import DELETE_PATH, MUTATE_PATH, VALIDATE_PATH
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Store
from webhook.hooks.dedupe.submit import Parts
from webhook.hooks.dedupe.validate import Validator


@dataclass(frozen=True, slots=True)
class Deduplication:
    """All of deduplication that a process may run.

    Attributes:
        hooks: The webhooks: mutate and validate runs, note their deletions.
        rebuilder: Its `run` has to be kept running in each serving process; without it a store that has lost its
            memory stays slow, though never wrong.
        inspector: Its `ask` says whether the store can be used; its `run` goes on looking.
    """

    hooks: tuple[Hook, ...]
    rebuilder: Rebuilder
    inspector: Inspector


def assemble(
    settings: DedupeSettings,
    api: KubernetesApi,
    store: Store,
    *,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    log: FilteringBoundLogger,
    metrics: DedupeMetrics,
) -> Deduplication:
    """Put deduplication together.

    Args:
        settings: Checked settings.
        api: The API server, as the webhook's ServiceAccount: get and list of runs.
        store: The memory.
        clock: Seconds since 1970.
        monotonic: A monotonic clock, in seconds.
        log: Gets one line for each create decided.
        metrics: Counts them.
    """
    confirmer = Confirmer(store, settings, clock, metrics)
    runs = Runs(api, settings.resource)
    doubts = Doubts(store, monotonic)
    parts = Parts(
        store=store,
        runs=runs,
        confirmer=confirmer,
        doubts=doubts,
        settings=settings,
        clock=clock,
        sleep=asyncio.sleep,
        log=log,
        metrics=metrics,
    )
    rebuilder = Rebuilder(
        store, runs, confirmer, doubts, settings, monotonic=monotonic, sleep=asyncio.sleep, log=log, metrics=metrics
    )
    hooks = (
        TypedHook(MUTATE_PATH, "mutate-orchestrationruns", OrchestrationRun, Mutator()),
        TypedHook(VALIDATE_PATH, "validate-orchestrationruns", OrchestrationRun, Validator(parts)),
        TypedHook(DELETE_PATH, "note-orchestrationruns", OrchestrationRun, DeletionNoter(confirmer, log)),
    )
    inspector = Inspector(store, settings, monotonic=monotonic, sleep=asyncio.sleep, log=log, metrics=metrics)
    return Deduplication(hooks, rebuilder, inspector)


def hooks(
    settings: DedupeSettings,
    api: KubernetesApi,
    store: Store,
    *,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    log: FilteringBoundLogger,
    metrics: DedupeMetrics,
) -> tuple[Hook, ...]:
    """Build only the webhooks; see `assemble`."""
    return assemble(settings, api, store, clock=clock, monotonic=monotonic, log=log, metrics=metrics).hooks
