"""An elector in its own process, which a test can freeze and kill; it prints when it leads.

Lines on standard output: `joined`, `began <t>`, `worked <t>`, `ended <t>`, `left`, with t in seconds of the machine's
monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import structlog
from prometheus_client import CollectorRegistry

from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.core.lease import LeaseTiming
from webhook.kube.election import Elector, Term
from webhook.kube.metrics import ElectionMetrics
from webhook.runtime.clock import Clock

_WORK_SECONDS = 0.01


def write_line(word: str, at: float) -> None:
    """Write one line and flush it."""
    print(f"{word} {at!r}", flush=True)


async def work(term: Term) -> None:
    """Write a line every few milliseconds while the term holds, in place of a leader's writes."""
    write_line("began", time.monotonic())
    try:
        while True:
            if term.holds:
                write_line("worked", time.monotonic())
            await asyncio.sleep(_WORK_SECONDS)
    finally:
        write_line("ended", time.monotonic())


async def main(kubeconfig: str, namespace: str, name: str, identity: str, times: str) -> None:
    """Take part in the election until SIGTERM."""
    duration, deadline, retry = times.split("/")
    api = KubernetesClient(await load_configuration(kubeconfig), user_agent=identity)
    elector = Elector(
        api,
        namespace=namespace,
        name=name,
        identity=identity,
        timing=LeaseTiming(int(duration), float(deadline), float(retry)),
        clock=Clock(),
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
