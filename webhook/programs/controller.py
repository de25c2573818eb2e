"""`rollonce controller`: what admission alone cannot do."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from webhook.feature import Feature, Process
from webhook.kube.core.lease import LeaseTiming
from webhook.kube.election import Elector, Lead, Term
from webhook.kube.metrics import ElectionMetrics
from webhook.kube.runnable import LeaderRunnable
from webhook.programs.registered import Render, start_comparing
from webhook.runtime import options
from webhook.runtime.background import keep_running


@asynccontextmanager
async def control(process: Process, features: Sequence[Feature[Any]], render: Render) -> AsyncIterator[None]:
    """Run the controllers of all features; those for the leader run on one replica at a time.

    Args:
        process: The program.
        features: Each has its part of the controller.
        render: Returns the webhook configurations as they should be.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    runnables = [runnable for feature in features for runnable in await feature.start_controller(process)]
    start_comparing(process, render)
    elector = _elector(process)
    process.background.start("election", lambda: elector.run(_lead(process, runnables)))
    process.log.info("controlling", leader_runnables=[runnable.name for runnable in runnables])
    yield
    process.readiness.start_draining()


def _lead(process: Process, runnables: Sequence[LeaderRunnable]) -> Lead:
    async def lead(term: Term) -> None:
        async with asyncio.TaskGroup() as group:
            for runnable in runnables:
                work = partial(runnable.lead, term)
                group.create_task(keep_running(runnable.name, work, process.log, process.clock))

    return lead


def _elector(process: Process) -> Elector:
    return Elector(
        process.api,
        namespace=options.own_namespace(process.settings),
        name=process.settings[options.LEASE],
        # The host name is the pod's name; the random suffix tells one start from the next.
        identity=f"{socket.gethostname()}_{secrets.token_hex(4)}",
        timing=LeaseTiming(),
        clock=process.clock,
        log=process.log,
        metrics=ElectionMetrics(process.registry),
    )
