"""What a feature consists of, and what a running program gives to it.

A feature is a folder. Its `feature.py` declares one `Feature`, and `webhook.features.FEATURES` lists it. The server,
the controller, the settings, the command line, the RBAC rules, the documentation and the webhook configurations are all
made by going through that list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from prometheus_client import CollectorRegistry

from webhook.admission.registration import RegistrationOptions
from webhook.admission.webhook import Endpoint, Webhook
from webhook.kube.rbac import AccessOptions, ProgramRules
from webhook.runtime.background import Background
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.deadline import Deadline
from webhook.runtime.log import Logger
from webhook.runtime.readiness import Readiness, release_when
from webhook.runtime.settings import Setting, Settings

if TYPE_CHECKING:  # The clients take half a second to import, which most commands do not need.
    from webhook.kube.client import KubernetesClient
    from webhook.kube.reflector import WatchContext
    from webhook.kube.runnable import LeaderRunnable
    from webhook.server.runner import BoundPort

HandlersT = TypeVar("HandlersT")

#: How often a dependency that has not answered yet is asked again, and how long one attempt may take.
_PROBE_BACKOFF: Final = Backoff(first=0.5, limit=1.0)
_PROBE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running program, as its features see it.

    Attributes:
        settings: Its settings.
        clock: Time, sleep and jitter.
        log: Its log.
        registry: Its metrics.
        readiness: What it still waits for before it is ready.
        ports: The ports that it has taken, by the name of their setting.
        stop: Set when it is asked to stop, and when a background task fails by a defect.
        api: The API server.
        watch_context: Opens a client of its own for watches; the argument is how many connections they need.
        background: Tasks that run until the program ends.
        stack: Closes what was opened, last first.
    """

    settings: Settings
    clock: Clock
    log: Logger
    registry: CollectorRegistry
    readiness: Readiness
    ports: Mapping[str, BoundPort] = field(default_factory=dict)
    stop: asyncio.Event
    api: KubernetesClient
    watch_context: Callable[[int], WatchContext]
    background: Background
    stack: AsyncExitStack

    def wait_for(self, name: str, ask: Callable[[Deadline], Awaitable[None]]) -> None:
        """Be unready until a dependency has answered once.

        Args:
            name: Its name, as `/readyz` shows it.
            ask: Asks it once; raises `DependencyError` if it does not answer as expected.
        """
        handle = self.readiness.wait_for(name)

        async def check() -> str:
            await ask(self.clock.deadline(_PROBE_SECONDS))
            return ""

        self.background.start(name, lambda: release_when(handle, check, Retry(self.clock, _PROBE_BACKOFF)))


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the command line that has not been loaded.

    Attributes:
        name: The word that calls it.
        module: The module that defines it under that name.
        help: Its line in the list of commands.
    """

    name: str
    module: str
    help: str


def _no_webhooks(_: RegistrationOptions) -> tuple[Webhook[Any, Any], ...]:
    return ()


def _no_rules(_: AccessOptions) -> ProgramRules:
    return ProgramRules()


def _nothing_to_check(_: Settings) -> None:
    return


def _unchanged(options: RegistrationOptions, _: Settings) -> RegistrationOptions:
    return options


async def _no_runnables(_: Process) -> Sequence[LeaderRunnable]:
    return ()


#: Checks the settings of one program as far as that is possible without any connection: contradictions, and files.
#: Raises `ConfigurationError`, whose message names the setting, the source of its value, and what is allowed.
#: Its result is not used.
Check: TypeAlias = Callable[[Settings], object]
#: Connects the handlers of a feature's webhooks, and starts what runs beside the server.
StartServer: TypeAlias = Callable[[Process], Awaitable[HandlersT]]
#: Starts what every controller replica does, and returns what only the leader does.
StartController: TypeAlias = "Callable[[Process], Awaitable[Sequence[LeaderRunnable]]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature(Generic[HandlersT]):
    """One feature of rollonce.

    Attributes:
        name: For logs and errors.
        server_settings: The settings that the admission server reads.
        controller_settings: The settings that the controller reads; a setting may be in both.
        structured_settings: Keys of the settings file that the feature reads by itself.
        check_server: Checks what the parsers of the server's settings cannot, before the server opens anything.
        check_controller: The same for the controller.
        webhooks: Its webhooks, given which requests are wanted.
        registration_options: Adds what the settings say about which requests are wanted.
        rules: The RBAC rules that it needs in a namespace that is served.
        start_server: Connects the handlers of its webhooks.
        start_controller: Starts its part of the controller.
        commands: Its commands.
    """

    name: str
    server_settings: tuple[Setting[Any], ...] = ()
    controller_settings: tuple[Setting[Any], ...] = ()
    structured_settings: frozenset[str] = frozenset()
    check_server: Check = _nothing_to_check
    check_controller: Check = _nothing_to_check
    webhooks: Callable[[RegistrationOptions], tuple[Webhook[HandlersT, Any], ...]] = _no_webhooks
    registration_options: Callable[[RegistrationOptions, Settings], RegistrationOptions] = _unchanged
    rules: Callable[[AccessOptions], ProgramRules] = _no_rules
    start_server: StartServer[HandlersT] | None = None
    start_controller: StartController = _no_runnables
    commands: tuple[Command, ...] = ()

    async def endpoints(self, process: Process) -> tuple[Endpoint, ...]:
        """Start the server's part of the feature, and return its webhooks connected to their handlers."""
        if self.start_server is None:
            return ()
        handlers = await self.start_server(process)
        bound = {webhook.registration.path: webhook for webhook in reversed(self.webhooks(RegistrationOptions()))}
        return tuple(webhook.bind(handlers) for webhook in bound.values())
