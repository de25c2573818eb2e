"""An elector as a process of its own, so that it can be frozen and killed; it writes down when it leads.

Lines on standard output: `joined`, `began <t>`, `worked <t>`, `ended <t>`, `left`, with t in seconds of the machine's
monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from datetime import UTC, datetime

import structlog
from prometheus_client import CollectorRegistry

from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.controller.core.lease import LeaseTiming
from webhook.controller.election import Elector, Term
from webhook.controller.metrics import ElectionMetrics

_WORK_SECONDS = 0.01


def say(word: str, at: float) -> None:
    """Write one line, at once."""
    print(f"{word} {at!r}", flush=True)


async def work(term: Term) -> None:
    """Write a line every few milliseconds, as long as the term holds: what a leader's writes are to others."""
    say("began", time.monotonic())
    try:
        while True:
            if term.holds:
                say("worked", time.monotonic())
            await asyncio.sleep(_WORK_SECONDS)
    finally:
        say("ended", time.monotonic())


async def main(kubeconfig: str, namespace: str, name: str, identity: str, times: str) -> None:
    """Take part until SIGTERM."""
    duration, deadline, retry = times.split("/")
    api = KubernetesClient(await load_configuration(kubeconfig), user_agent=identity)
    elector = Elector(
        api,
        namespace=namespace,
        name=name,
        identity=identity,
        timing=LeaseTiming(int(duration), float(deadline), float(retry)),
        clock=time.monotonic,
        wall_clock=lambda: datetime.now(UTC),
        chance=random.random,
        log=structlog.get_logger(),
        metrics=ElectionMetrics(CollectorRegistry()),
    )
    task = asyncio.create_task(elector.run(work))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print("joined", flush=True)
    await asyncio.gather(task, return_exceptions=True)
    await api.close()
    print("left", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
