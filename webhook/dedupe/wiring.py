"""All objects of deduplication, connected to each other: for the programs, the commands, tests and benchmarks."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from webhook.dedupe.buckets import Buckets
from webhook.dedupe.confirm import Confirmer
from webhook.dedupe.core.identity import BUCKETS
from webhook.dedupe.cut_off import CutOff
from webhook.dedupe.follower import Follower
from webhook.dedupe.handlers import RunHandlers
from webhook.dedupe.ledger_keeper import LedgerKeeper
from webhook.dedupe.ledger_store import LedgerStore
from webhook.dedupe.local_state import LocalState
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.outage import StoreOutage
from webhook.dedupe.positions import Positions
from webhook.dedupe.rebuild import Rebuilder
from webhook.dedupe.recollection import Recollection
from webhook.dedupe.replies import Replies
from webhook.dedupe.restart import RestartProof
from webhook.dedupe.rights import Rights
from webhook.dedupe.run_watcher import RunWatcher
from webhook.dedupe.runs import Runs
from webhook.dedupe.runs_admin import RunsAdmin
from webhook.dedupe.settings import REDIS_URL, STATE, DedupeSettings, dedupe_settings
from webhook.dedupe.shared_ledger import SharedLedger
from webhook.dedupe.store import Store
from webhook.dedupe.store_health import StoreHealth
from webhook.dedupe.unsynced import UnsyncedBuckets
from webhook.dedupe.validator import RunValidator
from webhook.dedupe.verifier import Verifier
from webhook.feature import Process
from webhook.kube.api import KubernetesApi
from webhook.kube.reflector import WatchContext
from webhook.runtime import options
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger
from webhook.store.api import ScriptRunner
from webhook.store.client import RedisClient

#: Connections of the controller for lists, in addition to one for each watch.
_LIST_CONNECTIONS: Final = 4


@dataclass(frozen=True, slots=True)
class StateAddress:
    """The ConfigMap that keeps what must outlive the servers.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        server: Id of this server in it.
    """

    namespace: str = "rollonce"
    name: str = STATE.default
    # The host name is the pod's name; the random suffix tells one start from the next.
    server: str = field(default_factory=lambda: f"{socket.gethostname()}_{secrets.token_hex(4)}")


class Records:
    """What every process has that touches records: the servers, the controller and the commands.

    Args:
        settings: Checked settings.
        api: The API server; needs get and list of runs.
        client: The connection to Redis.
        clock: Time, sleep and jitter.
        log: The log.
        metrics: Counters.
        buckets: The buckets that there are.

    Attributes:
        positions: How far the writes have been seen.
        store: The records of deliveries.
        buckets: The state of the store.
        runs: Reads runs from the API server.
        confirmer: Confirms and forgets records.
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
        buckets: Sequence[int] = range(BUCKETS),
    ) -> None:
        self._settings = settings
        self.positions = Positions()
        self.store = Store(client, self.positions, record_version=settings.record_format)
        self.buckets = Buckets(client, buckets)
        self.runs = Runs(api, settings.resource)
        self.confirmer = Confirmer(self.store, settings, clock=clock, log=log, metrics=metrics)
        self.admin = RunsAdmin(self.store, self.buckets, self.runs, self.confirmer, settings, clock=clock, log=log)

    def run_watcher(self, context: WatchContext) -> RunWatcher:
        """Return the controller's part: it confirms each run that the watch shows.

        Args:
            context: For the watches; needs list and watch of runs, and a connection for each namespace.
        """
        return RunWatcher(context, self.confirmer, self._settings)


class Deduplication:
    """All of deduplication in one server. Creating it starts nothing and sends nothing.

    Args:
        settings: Checked settings.
        api: The API server; needs get and list of runs, and get and update of the ConfigMap.
        client: The connection to Redis.
        state: The ConfigMap.
        clock: Time, sleep and jitter.
        log: The log.
        metrics: Counters.
        buckets: The buckets that there are.

    Attributes:
        records: Store, confirmations and runs.
        outage: Since when the store does not answer.
        shared: What the servers tell each other.
        unsynced: The creates that this process has admitted without a record.
        validator: Decides about creates.
        handlers: The handlers of the webhooks.
        follower, recollection, keeper, rebuilder: Their `run` must run in each server. Without the first three, answers
            are as if Redis had lost records; without the last, a store that has lost records stays slow.
        health: Checks whether the store is safe.
    """

    def __init__(
        self,
        settings: DedupeSettings,
        api: KubernetesApi,
        client: ScriptRunner,
        *,
        state: StateAddress,
        clock: Clock,
        log: Logger,
        metrics: DedupeMetrics,
        buckets: Sequence[int] = range(BUCKETS),
    ) -> None:
        self.records = records = Records(settings, api, client, clock=clock, log=log, metrics=metrics, buckets=buckets)
        store_buckets, runs, confirmer = records.buckets, records.runs, records.confirmer
        self.outage = outage = StoreOutage(clock, metrics)
        self.unsynced = unsynced = UnsyncedBuckets(store_buckets, clock)
        self.recollection = Recollection(store_buckets, settings, outage, clock=clock, log=log, metrics=metrics)
        self.rebuilder = Rebuilder(
            store_buckets, runs, confirmer, unsynced, settings, clock=clock, log=log, metrics=metrics
        )
        self.shared = SharedLedger(LedgerStore(api, namespace=state.namespace, name=state.name), clock)
        self.keeper = LedgerKeeper(
            self.shared,
            store_buckets,
            unsynced,
            outage,
            records.positions,
            server=state.server,
            is_new=self.rebuilder.is_new,
            clock=clock,
            log=log,
            metrics=metrics,
        )
        restart = RestartProof(store_buckets, records.positions, self.keeper, log=log)
        self.verifier = verifier = Verifier(
            records.store, store_buckets, runs, confirmer, api, settings=settings, clock=clock, log=log, metrics=metrics
        )
        self.follower = Follower(
            store_buckets,
            self.recollection,
            records.positions,
            restart,
            verifier,
            confirmer=confirmer,
            outage=outage,
            clock=clock,
            log=log,
        )
        local = LocalState(
            outage,
            self.recollection,
            self.keeper,
            restart,
            unsynced=unsynced,
            api=api,
            clock=clock,
            lease=settings.lease.total_seconds(),
        )
        replies = Replies(runs, Rights(runs, clock), settings, metrics)
        self.validator = RunValidator(
            records.store, runs, confirmer, local, replies, settings=settings, clock=clock, log=log, metrics=metrics
        )
        self.handlers = RunHandlers(self.validator, confirmer, settings, log=log, metrics=metrics)
        self.health = StoreHealth(store_buckets, settings, clock=clock, log=log, metrics=metrics)


def start_server(process: Process) -> RunHandlers:
    """Connect the handlers of the webhooks, and start what follows the store and the other servers.

    Raises:
        ConfigurationError: Settings contradict each other.
    """
    settings = dedupe_settings(process.settings)
    state = StateAddress(options.own_namespace(process.settings), process.settings[STATE])
    deduplication = Deduplication(
        settings,
        process.api,
        _connect(process),
        state=state,
        clock=process.clock,
        log=process.log,
        metrics=DedupeMetrics(process.registry),
    )
    process.wait_for("Redis", deduplication.health.require_usable)
    # Before that it trusts no missing record, and would refuse creates that another replica decides.
    process.wait_for("the state of deduplication", lambda _: deduplication.shared.require_member(state.server))
    cut_off = CutOff(deduplication.shared, deduplication.outage, server=state.server)
    process.readiness.watch_for(cut_off.fault)
    process.stack.push_async_callback(deduplication.keeper.retire)
    for name, work in (
        ("state of deduplication", deduplication.keeper.run),
        ("store follower", deduplication.follower.run),
        ("recollection", deduplication.recollection.run),
        ("rebuild", deduplication.rebuilder.run),
        ("store health", deduplication.health.run),
    ):
        process.background.start(name, work)
    return deduplication.handlers


def start_controller(process: Process) -> None:
    """Start to confirm the runs that the watch shows; every replica does.

    Raises:
        ConfigurationError: Settings contradict each other.
    """
    settings = dedupe_settings(process.settings)
    context = process.watch_context(len(settings.watched_namespaces) + _LIST_CONNECTIONS)
    records = Records(
        settings,
        process.api,
        _connect(process),
        clock=process.clock,
        log=process.log,
        metrics=DedupeMetrics(process.registry),
    )
    watcher = records.run_watcher(context)
    process.background.start(watcher.name, watcher.run)


def _connect(process: Process) -> RedisClient:
    client = RedisClient(process.settings[REDIS_URL])
    process.stack.push_async_callback(client.close)
    process.log.info("using deduplication store", store=str(client.url))
    return client
