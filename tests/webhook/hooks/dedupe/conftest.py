"""The deduplication webhooks over a real Valkey and a cluster's storage in memory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import hypothesis
import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.valkey import Valkey
from tests.webhook.hooks.dedupe.world import NAMESPACE, Storage, make_run
from webhook.admission.deadline import Deadline
from webhook.admission.response import Decision, Status
from webhook.admission.review import AdmissionRequest, Operation
from webhook.clients.redis import RedisClient, parse_url
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.run import OrchestrationRun
from webhook.hooks.dedupe.deletions import DeletionNoter
from webhook.hooks.dedupe.doubts import Doubts
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Store
from webhook.hooks.dedupe.submit import Parts
from webhook.hooks.dedupe.validate import Validator

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def soon(seconds: float = 2.0) -> Deadline:
    """A deadline as the API server gives it."""
    return Deadline.after(seconds, time.monotonic)


@dataclass
class Replica:
    """One replica of the webhook and what it works with."""

    client: RedisClient
    storage: Storage = field(default_factory=Storage)
    settings: DedupeSettings = field(default_factory=DedupeSettings)

    def __post_init__(self) -> None:
        self.store = Store(self.client)
        self.metrics = DedupeMetrics(CollectorRegistry())
        log = structlog.get_logger()
        self.confirmer = Confirmer(self.store, self.settings, time.time, self.metrics)
        self.parts = Parts(
            store=self.store,
            runs=Runs(self.storage, self.settings.resource),
            confirmer=self.confirmer,
            doubts=Doubts(self.store, time.monotonic),
            settings=self.settings,
            clock=time.time,
            sleep=asyncio.sleep,
            log=log,
            metrics=self.metrics,
        )
        self.validator = Validator(self.parts)
        self.noter = DeletionNoter(self.confirmer, log)

    async def validate(
        self, run: OrchestrationRun, *, request_uid: str = "", dry_run: bool = False, seconds: float = 2.0
    ) -> Decision:
        """Ask about a create."""
        request = AdmissionRequest(
            uid=request_uid or str(uuid.uuid4()),
            operation=Operation.CREATE,
            name=run.name,
            namespace=NAMESPACE,
            object=run,
            dry_run=dry_run,
        )
        return await self.validator(request, soon(seconds))

    async def create(self, run: OrchestrationRun) -> Decision:
        """Ask about a create and store the run if it is allowed."""
        decision = await self.validate(run)
        if decision.allowed:
            self.storage.store(run)
        return decision


def status_of(decision: Decision) -> Status:
    """The status of a refusal."""
    assert not decision.allowed
    assert decision.status is not None
    return decision.status


def fresh(name: str = "nightly-1", *, delivery_id: str | None = "d-1", parameters: bytes = b"{}") -> OrchestrationRun:
    """A run as it comes to be validated, created now."""
    return make_run(name, uid=str(uuid.uuid4()), created=time.time(), delivery_id=delivery_id, parameters=parameters)


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[RedisClient]:
    """A connection to a Valkey of its own."""
    connection = RedisClient(parse_url(valkey.url))
    yield connection
    await connection.close()


@pytest.fixture
async def replica(client: RedisClient) -> Replica:
    """A replica over a new store that is known to be new."""
    made = Replica(client)
    await made.store.declare_new(soon())
    return made
