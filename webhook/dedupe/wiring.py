"""All objects of deduplication, connected to each other: for the programs, the commands, tests and benchmarks."""

from __future__ import annotations

from typing import Final

from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.handlers import RunHandlers
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.rebuild import Rebuilder
from webhook.dedupe.run_watcher import RunWatcher
from webhook.dedupe.runs import Runs
from webhook.dedupe.runs_admin import RunsAdmin
from webhook.dedupe.settings import REDIS_URL, DedupeSettings, dedupe_settings
from webhook.dedupe.store import Store
from webhook.dedupe.store_health import StoreHealth
from webhook.dedupe.unsynced import UnsyncedBuckets
from webhook.dedupe.validator import RunValidator
from webhook.feature import Process
from webhook.kube.api import KubernetesApi
from webhook.kube.reflector import WatchContext
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger
from webhook.store.api import ScriptRunner
from webhook.store.client import RedisClient

#: Connections of the controller for lists, in addition to one for each watch.
_LIST_CONNECTIONS: Final = 4


class Deduplication:
    """All of deduplication in one process. Creating it starts nothing and sends nothing.

    Args:
        settings: Checked settings.
        api: The API server; needs get and list of runs.
        client: The connection to Redis.
        clock: Time, sleep and jitter.
        log: The log.
        metrics: Counters.

    Attributes:
        store: The records of deliveries.
        confirmer: Confirms and forgets records.
        unsynced: The creates that this process has admitted without a record.
        validator: Decides about creates.
        handlers: The handlers of the webhooks.
        rebuilder: Its `run` must run in each serving process: without it, a store that has lost records stays slow,
            though its answers stay right.
        health: Checks whether the store is safe.
        admin: What operators can ask and do.
    """

    def __init__(
        self,
        settings: DedupeSettings,
        api: KubernetesApi,
        client: ScriptRunner,
        *,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
    ) -> None:
        self._settings = settings
        self.store = store = Store(client)
        runs = Runs(api, settings.resource)
        self.confirmer = confirmer = Confirmer(store, settings, clock, metrics)
        self.unsynced = unsynced = UnsyncedBuckets(store, clock)
        self.validator = RunValidator(store, runs, confirmer, unsynced, settings, clock=clock, log=log, metrics=metrics)
        self.handlers = RunHandlers(self.validator, confirmer, settings, log=log, metrics=metrics)
        self.rebuilder = Rebuilder(store, runs, confirmer, unsynced, settings, clock=clock, log=log, metrics=metrics)
        self.health = StoreHealth(store, settings, clock=clock, log=log, metrics=metrics)
        self.admin = RunsAdmin(store, runs, confirmer, settings, clock=clock, log=log)

    def run_watcher(self, context: WatchContext) -> RunWatcher:
        """Return the controller's part: it confirms each run that the watch shows.

        Args:
            context: For the watches; needs list and watch of runs, and a connection for each namespace.
        """
        return RunWatcher(context, self.confirmer, self._settings)


def start_server(process: Process) -> RunHandlers:
    """Connect the handlers of the webhooks, and start the rebuild and the checks of the store.

    Raises:
        ConfigurationError: Settings contradict each other.
    """
    deduplication = _connect(process, dedupe_settings(process.settings))
    process.wait_for("Redis", deduplication.health.require_usable)
    process.background.start("rebuild", deduplication.rebuilder.run)
    process.background.start("store health", deduplication.health.run)
    return deduplication.handlers


def start_controller(process: Process) -> None:
    """Start to confirm the runs that the watch shows; every replica does.

    Raises:
        ConfigurationError: Settings contradict each other.
    """
    settings = dedupe_settings(process.settings)
    context = process.watch_context(len(settings.watched_namespaces) + _LIST_CONNECTIONS)
    watcher = _connect(process, settings).run_watcher(context)
    process.background.start(watcher.name, watcher.run)


def _connect(process: Process, settings: DedupeSettings) -> Deduplication:
    client = RedisClient(process.settings[REDIS_URL])
    process.stack.push_async_callback(client.close)
    process.log.info("using deduplication store", store=str(client.url))
    return Deduplication(
        settings,
        process.api,
        client,
        clock=process.clock,
        log=process.log,
        metrics=DedupeMetrics(process.registry),
    )
