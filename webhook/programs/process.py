"""What both programs have: log, metrics, health port, a connection to the API server, and a way to stop.

A program ends with exit code 0 when it was asked to stop, and with 1 after a defect in a background task. A watchdog
ends it in any case: a part that does not stop must not keep a pod from ending, and a process whose event loop stands
still must not keep its connections.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

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
from webhook.runtime.parsers import Address
from webhook.runtime.readiness import Readiness
from webhook.runtime.settings import Setting, Settings
from webhook.runtime.watchdog import FAILURE_EXIT, Watchdog
from webhook.server import health
from webhook.server.runner import FEW_CONNECTIONS, bind, listen

#: How long a program may take to end, after the drain: requests in flight, the release of a Lease, open connections.
SHUTDOWN_SECONDS: Final = 20.0
#: The same if it is known that a part of it does not end.
_STUCK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A long-running program.

    Attributes:
        name: Part of the User-Agent that the API server sees.
        ports: The ports that it listens on, beside the health port.
        drain: How long it goes on after it was asked to stop.
        work: Entering sets it up; leaving shuts it down.
    """

    name: str
    ports: tuple[Setting[Address], ...] = ()
    drain: float = 0.0
    work: Callable[[Process], AbstractAsyncContextManager[None]]


def run(settings: Settings, program: Program) -> int:
    """Run a program until it is asked to stop, and return its exit code.

    Args:
        settings: Its settings, checked as far as that is possible without opening anything.
        program: Its work.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    logger = log.configure(settings[options.LOG_LEVEL], settings[options.LOG_FORMAT])
    with Watchdog(logger) as watchdog, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Run(settings, program, logger, watchdog).main())


class _Run:
    """One run of a program."""

    def __init__(self, settings: Settings, program: Program, logger: Logger, watchdog: Watchdog) -> None:
        self._settings = settings
        self._program = program
        self._log = logger
        self._watchdog = watchdog
        self._stop = asyncio.Event()
        self._set_up = False
        self._failed = False

    async def main(self) -> int:
        """Set the program up, wait until it is asked to stop, and shut it down."""
        self._watchdog.start()
        _on_signals(self._asked_to_stop)
        living = asyncio.create_task(self._live(), name=self._program.name)
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait((living, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not living.done():
            self._watchdog.end_within(self._program.drain + SHUTDOWN_SECONDS)
            if not self._set_up:
                # Whatever the set-up waits for may never come.
                living.cancel()
        try:
            await living
        except asyncio.CancelledError:
            self._log.info("stopped before it was started")
        else:
            self._log.info("stopped")
        finally:
            stopping.cancel()
        return FAILURE_EXIT if self._failed else 0

    def _asked_to_stop(self, number: signal.Signals) -> None:
        """Stop at the first signal; at a second one, end the process at once."""
        if self._stop.is_set():
            self._log.warning("second signal, stopping at once")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            # The first process of a container is not ended by a signal that it has no handler for.
            os._exit(128 + number)
        self._stop.set()

    async def _live(self) -> None:
        readiness = Readiness()
        # Unready from before the first question can come, because the other conditions are added one by one.
        starting = readiness.wait_for("start")
        async with self._process(readiness) as process, self._program.work(process):
            starting.release()
            self._set_up = True
            await self._stop.wait()

    @asynccontextmanager
    async def _process(self, readiness: Readiness) -> AsyncIterator[Process]:
        settings, logger = self._settings, self._log
        clock, registry = Clock(), new_registry()
        async with AsyncExitStack() as stack:
            # First everything that can be wrong with the settings, before anything is logged or connected.
            configuration = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT])
            ports = {
                setting.name: bind(settings[setting], source=settings.source(setting), flag=setting.flag)
                for setting in (options.HEALTH_LISTEN, *self._program.ports)
            }
            for port in ports.values():
                stack.callback(port.close)

            def connect(connections: int) -> KubernetesClient:
                user_agent = f"rollonce-{self._program.name}"
                client = KubernetesClient(configuration, user_agent=user_agent, connections=connections)
                stack.push_async_callback(client.close)
                return client

            api, watch_metrics = connect(64), WatchMetrics(registry)
            listener = await listen(
                health.application(readiness, registry), ports[options.HEALTH_LISTEN.name], limits=FEW_CONNECTIONS
            )
            stack.push_async_callback(listener.close)
            logger.info(
                "starting", program=self._program.name, process=os.getpid(), kubernetes=api.host, health=str(listener)
            )
            # Background tasks end before anything that they use is closed.
            background = Background(logger, clock, stop=self._stop)
            try:
                async with background:
                    process = Process(
                        settings=settings,
                        clock=clock,
                        log=logger,
                        registry=registry,
                        readiness=readiness,
                        ports=ports,
                        stop=self._stop,
                        api=api,
                        watch_context=lambda connections: WatchContext(
                            connect(connections), clock, logger, watch_metrics
                        ),
                        background=background,
                        stack=stack,
                    )
                    process.wait_for("the API server", lambda deadline: _ask(api, deadline))
                    try:
                        yield process
                    finally:
                        self._watchdog.end_within(SHUTDOWN_SECONDS)
            finally:
                self._failed = bool(background.defects or background.stuck)
                if background.stuck:
                    self._watchdog.end_within(_STUCK_SECONDS)


async def _ask(api: KubernetesClient, deadline: Deadline) -> None:
    reply = await api.get("/version", deadline)
    if not reply.ok:
        raise DependencyError(f"The API server answered {reply.status}.")


def _on_signals(handle: Callable[[signal.Signals], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
