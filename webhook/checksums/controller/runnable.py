"""The controller's part of checksums, as the leader runs it, and how it is put together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from webhook.checksums.controller.reconciler import ControllerMetrics, WorkloadReconciler
from webhook.checksums.controller.reporter import StatusReporter
from webhook.checksums.controller.scope import scope_of
from webhook.checksums.core.kinds import WorkloadKind
from webhook.checksums.settings import LiveSettings, live_settings, pace_of
from webhook.feature import Process
from webhook.kube.election import Term
from webhook.kube.events import EventRecorder

#: The reporting component of Events.
COMPONENT: Final = "rollonce"
#: Connections for lists, beside those for watches.
_SPARE_CONNECTIONS: Final = 16


class ChecksumsRunnable:
    """Roll workloads while this replica leads; implements `webhook.kube.runnable.LeaderRunnable`.

    Args:
        settings: The settings; a change of the operator's list has every workload reconciled.
        new_reconciler: Creates the reconciler of a term.
    """

    name = "checksums"

    def __init__(self, settings: LiveSettings, new_reconciler: Callable[[Term], WorkloadReconciler]) -> None:
        self._settings = settings
        self._new_reconciler = new_reconciler

    async def lead(self, term: Term) -> None:
        """Roll workloads until cancelled."""
        reconciler = self._new_reconciler(term)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settings.follow(reconciler.reconcile_all))
            group.create_task(reconciler.run())


async def start(process: Process, kinds: tuple[WorkloadKind, ...]) -> ChecksumsRunnable:
    """Start the recorder of Events, and return what the leader runs.

    Raises:
        ConfigurationError: A setting cannot work.
    """
    settings = await live_settings(process.settings, process.api, clock=process.clock, log=process.log)
    scope, metrics = scope_of(process.settings, kinds), ControllerMetrics.register(process.registry)
    recorder = EventRecorder(
        process.api, component=COMPONENT, instance=socket.gethostname(), clock=process.clock, log=process.log
    )
    process.background.start("events", recorder.run)
    new_reconciler = partial(
        WorkloadReconciler,
        settings=settings.current,
        scope=scope,
        pace=pace_of(process.settings),
        api=process.api,
        watch=process.watch_context(scope.watches + _SPARE_CONNECTIONS),
        reporter=StatusReporter(recorder, process.log, metrics.rollouts),
        metrics=metrics,
    )
    return ChecksumsRunnable(settings, new_reconciler)
