"""What both programs have: log, metrics, health port, a connection to the API server, and a way to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeAlias

import uvloop

from webhook.errors import DependencyError
from webhook.feature import Process
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.metrics import WatchMetrics
from webhook.kube.reflector import WatchContext
from webhook.runtime import log, options
from webhook.runtime.background import Background
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger
from webhook.runtime.metrics import new_registry
from webhook.runtime.readiness import Readiness
from webhook.runtime.settings import Settings
from webhook.server import health
from webhook.server.runner import listen

#: Entering sets the program up; leaving shuts it down.
Program: TypeAlias = Callable[[Process], AbstractAsyncContextManager[None]]


def run(settings: Settings, program: Program, *, name: str) -> None:
    """Run a program until it is asked to stop.

    Args:
        settings: Its settings.
        program: Its work.
        name: Part of the User-Agent that the API server sees.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    logger = log.configure(settings[options.LOG_LEVEL], settings[options.LOG_FORMAT])

    async def main() -> None:
        readiness = Readiness()
        # Unready from before the first question can come, because the other conditions are added one by one.
        starting = readiness.wait_for("start")
        async with _process(settings, readiness, logger, name) as process, program(process):
            starting.release()
            await process.stop.wait()
        logger.info("stopped")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@asynccontextmanager
async def _process(settings: Settings, readiness: Readiness, logger: Logger, name: str) -> AsyncIterator[Process]:
    stop = _stop_on_signal(logger)
    clock, registry = Clock(), new_registry()
    async with AsyncExitStack() as stack:
        configuration = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT])

        def connect(connections: int) -> KubernetesClient:
            client = KubernetesClient(configuration, user_agent=f"rollonce-{name}", connections=connections)
            stack.push_async_callback(client.close)
            return client

        api, watch_metrics = connect(64), WatchMetrics(registry)
        listener = await listen(
            health.application(readiness, registry), settings[options.HEALTH_LISTEN], setting=options.HEALTH_LISTEN.flag
        )
        stack.push_async_callback(listener.close)
        process = Process(
            settings=settings,
            clock=clock,
            log=logger,
            registry=registry,
            readiness=readiness,
            stop=stop,
            api=api,
            watch_context=lambda connections: WatchContext(connect(connections), clock, logger, watch_metrics),
            background=await stack.enter_async_context(Background(logger, clock)),
            stack=stack,
        )

        async def ask_api(deadline: Deadline) -> None:
            reply = await api.get("/version", deadline)
            if not reply.ok:
                raise DependencyError(f"The API server answered {reply.status}.")

        process.wait_for("the API server", ask_api)
        logger.info("starting", program=name, process=os.getpid(), kubernetes=api.host, health=str(listener))
        yield process


def _stop_on_signal(logger: Logger) -> asyncio.Event:
    """Return an event that is set by the first SIGTERM or SIGINT; a second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(number: signal.Signals) -> None:
        if stop.is_set():
            logger.warning("second signal, stopping at once")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    return stop
