"""What every long-running program has: a log, metrics, health, a connection to the API server, and a way to stop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry

from webhook import log, options
from webhook.admission.deadline import Deadline
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.config import Values
from webhook.errors import DependencyError
from webhook.log import Logger
from webhook.metrics import new_registry
from webhook.programs.background import Background
from webhook.programs.signals import stop_on_signal
from webhook.server import health
from webhook.server.health import Readiness, ReadinessHandle
from webhook.server.runner import listen

#: How often what has not been seen yet is looked for.
PROBE_SECONDS: Final = 0.5
PROBE_LIMIT_SECONDS: Final = 2.0

Program = Callable[["Process"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Process:
    """A running program's surroundings.

    Attributes:
        values: Its settings.
        log: Its log.
        registry: Its metrics.
        readiness: What it still waits for.
        stop: Set when it is told to stop.
        api: The API server.
        background: What runs beside its main business.
        stack: Closes what it opened, last first.
        starting: To be released once everything is set up.
    """

    values: Values
    log: Logger
    registry: CollectorRegistry
    readiness: Readiness
    stop: asyncio.Event
    api: KubernetesClient
    background: Background
    stack: AsyncExitStack
    starting: ReadinessHandle

    def wait_for(self, what: str, ask: Callable[[Deadline], Awaitable[None]]) -> None:
        """Be unready until something has answered once.

        Args:
            what: Its name.
            ask: Asks it; raises `DependencyError` where it does not answer as it should.
        """
        handle = self.readiness.wait_for(what)
        self.background.start(what, lambda: _probe(handle, ask))


def run(values: Values, program: Program, *, name: str) -> None:
    """Run a program until it is told to stop.

    Args:
        values: Its settings.
        program: What it does; it ends some time after `Process.stop` is set.
        name: Part of the User-Agent that the API server sees.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    logger = log.configure(values[options.LOG_LEVEL], values[options.LOG_FORMAT])

    async def main() -> None:
        async with _surroundings(values, logger, name) as process:
            await program(process)
        logger.info("Stopped.")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@asynccontextmanager
async def _surroundings(values: Values, logger: Logger, name: str) -> AsyncIterator[Process]:
    stop = stop_on_signal(logger)
    registry = new_registry()
    readiness = Readiness()
    # From before the first question can come, since the other handles are made one after the other.
    starting = readiness.wait_for("start")
    async with AsyncExitStack() as stack:
        configuration = await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent=f"rollonce-{name}")
        stack.push_async_callback(api.close)
        listener = await listen(
            health.application(readiness, registry), values[options.HEALTH_LISTEN], setting=options.HEALTH_LISTEN.flag
        )
        stack.push_async_callback(listener.close)
        background = await stack.enter_async_context(Background(logger))
        process = Process(values, logger, registry, readiness, stop, api, background, stack, starting)

        async def ask_api(deadline: Deadline) -> None:
            reply = await api.get("/version", deadline)
            if not reply.ok:
                raise DependencyError(f"The API server answered {reply.status}.")

        process.wait_for("the API server", ask_api)
        logger.info("Starting.", program=name, process=os.getpid(), kubernetes=api.host, health=str(listener))
        yield process


async def _probe(handle: ReadinessHandle, ask: Callable[[Deadline], Awaitable[None]]) -> None:
    while True:
        try:
            await ask(Deadline.after(PROBE_LIMIT_SECONDS, time.monotonic))
        except DependencyError as error:
            handle.note(str(error))
            await asyncio.sleep(PROBE_SECONDS)
        else:
            handle.release()
            return
