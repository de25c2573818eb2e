"""`rollonce controller`: what admission alone cannot do."""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from collections.abc import Sequence
from functools import partial

from webhook import options
from webhook.certificates.metrics import RotationMetrics
from webhook.certificates.rotation import Rotation
from webhook.certificates.served import now
from webhook.controller.core.lease import LeaseTiming
from webhook.controller.election import Elector, Lead, Term
from webhook.controller.metrics import ElectionMetrics
from webhook.controller.parts import LeaderPart
from webhook.log import Logger
from webhook.programs.background import keep_running
from webhook.programs.checksums import rolling
from webhook.programs.deduplication import confirmations
from webhook.programs.process import Process
from webhook.programs.sources import manages_itself, own_namespace, self_managed


async def control(process: Process) -> None:
    """Run the controller's parts until told to stop.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    confirming = await confirmations(process)
    process.background.start(confirming.name, confirming.run)
    led = [*_leader_parts(process), await rolling(process)]
    if led:
        elector = _elector(process)
        process.background.start("election", lambda: elector.run(_lead(led, process.log)))
    process.starting.release()
    process.log.info("Controlling.", led=[part.name for part in led])
    await process.stop.wait()
    process.readiness.start_draining()


def _leader_parts(process: Process) -> Sequence[LeaderPart]:
    parts: list[LeaderPart] = []
    if manages_itself(process.values):
        settings = self_managed(process.values)
        metrics = RotationMetrics(process.registry)
        parts.append(Rotation(process.api, settings, metrics=metrics, log=process.log))
    return parts


def _lead(parts: Sequence[LeaderPart], log: Logger) -> Lead:
    async def lead(term: Term) -> None:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(keep_running(part.name, partial(part.lead, term), log))

    return lead


def _elector(process: Process) -> Elector:
    return Elector(
        process.api,
        namespace=own_namespace(process.values),
        name=process.values[options.LEASE],
        # The host's name is the pod's; what is random tells one start from the next.
        identity=f"{socket.gethostname()}_{secrets.token_hex(4)}",
        timing=LeaseTiming(),
        clock=time.monotonic,
        wall_clock=now,
        chance=random.random,
        log=process.log,
        metrics=ElectionMetrics(process.registry),
    )
