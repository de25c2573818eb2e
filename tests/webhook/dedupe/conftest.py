"""The deduplication webhooks over a real Valkey and a cluster's storage in memory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.valkey import Valkey
from tests.webhook.dedupe.world import NAMESPACE, Storage, make_run
from webhook.admission.response import Decision, Status
from webhook.admission.review import AdmissionRequest, Operation
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.run import OrchestrationRun
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.wiring import Deduplication, StateAddress
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.store.client import RedisClient
from webhook.store.url import parse_url

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def soon(seconds: float = 2.0) -> Deadline:
    """Return a deadline as the API server sets it."""
    return Deadline.after(seconds, time.monotonic)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until a condition is true."""
    deadline = soon(seconds)
    while not await condition():
        deadline.require()
        await asyncio.sleep(0.01)


#: The tasks of replicas, which end with the test.
_running: list[asyncio.Task[None]] = []


@pytest.fixture(autouse=True)
async def ending() -> AsyncIterator[None]:
    """End the tasks of replicas with the test."""
    yield
    for task in _running:
        task.cancel()
    await asyncio.gather(*_running, return_exceptions=True)
    _running.clear()


@dataclass
class Replica:
    """One replica of the admission server."""

    client: RedisClient
    storage: Storage = field(default_factory=Storage)
    settings: DedupeSettings = field(default_factory=DedupeSettings)

    def __post_init__(self) -> None:
        self.metrics = DedupeMetrics(CollectorRegistry())
        self.deduplication = Deduplication(
            self.settings,
            self.storage,
            self.client,
            state=StateAddress(),
            clock=Clock(),
            log=structlog.get_logger(),
            metrics=self.metrics,
        )
        self.store = self.deduplication.records.store
        self.buckets = self.deduplication.records.buckets
        self.confirmer = self.deduplication.records.confirmer
        self.handlers = self.deduplication.handlers
        self.rebuilder = self.deduplication.rebuilder
        self.keeper = self.deduplication.keeper
        self.follower = self.deduplication.follower

    async def join(self, *, minutes_ago: float = 1.0) -> Replica:
        """Start the background tasks of a server, which run until the test ends or the replica leaves.

        Args:
            minutes_ago: How long the others have known of it.
        """
        await self.keeper.step()
        await self.follower.step(verify=False)
        await self.deduplication.recollection.fill()
        if self.keeper._continuity.registered_at is not None:
            self.keeper._continuity.registered_at -= 60 * minutes_ago
        self.tasks = [
            asyncio.create_task(work())
            for work in (self.keeper.run, self.follower.run, self.deduplication.recollection.run)
        ]
        _running.extend(self.tasks)
        return self

    async def leave(self) -> None:
        """End the background tasks, as a server that is stopped."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.keeper.retire()

    async def changed(self, settings: DedupeSettings) -> Replica:
        """Replace the replica by one with other settings."""
        await self.leave()
        return await Replica(self.client, self.storage, settings).join()

    async def validate(
        self, run: OrchestrationRun, *, request_uid: str = "", dry_run: bool = False, seconds: float = 2.0
    ) -> Decision:
        """Validate a create."""
        request = AdmissionRequest(
            uid=request_uid or str(uuid.uuid4()),
            operation=Operation.CREATE,
            name=run.name,
            namespace=NAMESPACE,
            object=run,
            dry_run=dry_run,
        )
        return await self.handlers.validate(request, soon(seconds))

    async def create(self, run: OrchestrationRun) -> Decision:
        """Validate a create, and store the run if it is allowed."""
        decision = await self.validate(run)
        if decision.allowed:
            self.storage.store(run)
        return decision


async def holds_records(replica: Replica) -> bool:
    """Return whether the store holds a record."""
    return any([found async for found in replica.buckets.digests(soon)])


def status_of(decision: Decision) -> Status:
    """Return the status of a refusal."""
    assert not decision.allowed
    assert decision.status is not None
    return decision.status


def fresh(
    name: str = "nightly-1", *, delivery_id: str | None = "d-1", parameters: bytes = b"{}", age: float = 0.0
) -> OrchestrationRun:
    """Return a run that is created now, or some seconds ago, as the validating webhook gets it."""
    created = time.time() - age
    return make_run(name, uid=str(uuid.uuid4()), created=created, delivery_id=delivery_id, parameters=parameters)


def key_of(run: OrchestrationRun) -> DeliveryKey:
    """Return the key of a run that has a deliveryId."""
    key = run.key()
    assert key is not None
    return key


@asynccontextmanager
async def relay(path: Path, port: int, *, lose: bytes = b"") -> AsyncIterator[list[bytes]]:
    """Relay a Unix socket to a port of localhost.

    Args:
        path: The socket.
        port: The port.
        lose: The first reply that contains this is dropped, and its connection is closed; empty drops none.

    Yields:
        The replies that were dropped.
    """
    lost: list[bytes] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if lose and lose in data and not lost:
                lost.append(data)
                break
            writer.write(data)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        tasks = [
            asyncio.create_task(forward(reader, server_writer)),
            asyncio.create_task(reply(server_reader, writer)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        server_writer.close()
        writer.close()

    server = await asyncio.start_unix_server(carry, path)
    try:
        yield lost
    finally:
        server.close()


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[RedisClient]:
    """A connection to a Valkey of its own."""
    connection = RedisClient(parse_url(valkey.url))
    yield connection
    await connection.close()


@pytest.fixture
async def replica(client: RedisClient) -> Replica:
    """A replica over a new store."""
    return await Replica(client).join()
