"""Events on objects, as `kubectl describe` shows them: what was done, or could not be done, and why.

Events are told beside the work and may get lost: nothing waits for them and nothing fails because of them. They are
written to core/v1, which is what `kubectl describe` reads. Needs create and patch of `events`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from webhook.admission.deadline import Deadline
from webhook.clients.api import MERGE_PATCH, KubernetesApi, Reply
from webhook.controller.core.lease import micro_time
from webhook.controller.core.recurrence import Allowance, Recurrences, Written
from webhook.errors import KubernetesError
from webhook.log import Logger

_WAITING: Final = 1000
_WRITE_SECONDS: Final = 10.0
#: The API server's limit of an Event's message.
_MESSAGE_LENGTH: Final = 1024


class EventType(Enum):
    """Whether somebody should have a look."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an Event is about.

    Attributes:
        api_version: Such as `apps/v1`.
        kind: Such as `Deployment`.
        namespace: Where it is; empty for what is in none.
        name: Its name.
        uid: Its uid, by which `kubectl describe` finds its Events.
        resource_version: The version that was looked at; may be empty.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


class _Reference(msgspec.Struct, rename="camel", omit_defaults=True):
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


class _Event(msgspec.Struct, rename="camel"):
    metadata: dict[str, str]
    involved_object: _Reference
    reason: str
    message: str
    type: str
    source: dict[str, str]
    reporting_component: str
    reporting_instance: str
    first_timestamp: str
    last_timestamp: str
    count: int = 1
    api_version: str = msgspec.field(default="v1", name="apiVersion")
    kind: str = "Event"


class _Statement(NamedTuple):
    """What makes two Events the same."""

    subject_uid: str
    type: EventType
    reason: str
    message: str


class EventRecorder:
    """Writes Events, one after the other.

    Args:
        api: The API server.
        component: Who tells, shown as `From`.
        instance: Which replica of it.
        clock: A monotonic clock, in seconds.
        wall_clock: An aware time.
        log: Told of Events that could not be written.
    """

    def __init__(
        self,
        api: KubernetesApi,
        *,
        component: str,
        instance: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        log: Logger,
    ) -> None:
        self._api = api
        self._component = component
        self._instance = instance
        self._clock = clock
        self._wall_clock = wall_clock
        self._log = log
        self._waiting: asyncio.Queue[tuple[Subject, _Statement]] = asyncio.Queue(_WAITING)
        self._allowance: Allowance[str] = Allowance()
        self._recurrences: Recurrences[_Statement] = Recurrences()

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        """Have an Event written soon, or counted if it says the same as one before.

        Args:
            subject: What it is about.
            kind: Whether somebody should have a look.
            reason: One word in CamelCase.
            message: A sentence for people; what is longer than 1,024 bytes is cut.
        """
        if not self._allowance.take(subject.uid, self._clock()):
            return
        # The limit is one of bytes.
        message = message.encode()[:_MESSAGE_LENGTH].decode(errors="ignore")
        try:
            self._waiting.put_nowait((subject, _Statement(subject.uid, kind, reason, message)))
        except asyncio.QueueFull:
            self._log.warning("Too many Events wait: one is left out.", reason=reason)

    async def run(self) -> None:
        """Write what is recorded until this is cancelled."""
        while True:
            subject, statement = await self._waiting.get()
            try:
                reply = await self._write(subject, statement)
                problem = "" if reply.ok else f"The API server answered {reply.status}."
            except KubernetesError as error:
                self._recurrences.remember(statement, None)
                problem = str(error)
            if problem:
                self._log.warning(
                    "An Event could not be written.", object=f"{subject.namespace}/{subject.name}", problem=problem
                )
            self._waiting.task_done()

    async def flush(self) -> None:
        """Wait until all that was recorded has been written, or given up."""
        await self._waiting.join()

    async def _write(self, subject: Subject, statement: _Statement) -> Reply:
        folder = f"/api/v1/namespaces/{subject.namespace or 'default'}/events"
        deadline = Deadline.after(_WRITE_SECONDS, self._clock)
        if before := self._recurrences.find(statement):
            count = before.count + 1
            changes = {"count": count, "lastTimestamp": self._now()}
            reply = await self._api.send(
                "PATCH",
                f"{folder}/{before.name}",
                msgspec.json.encode(changes),
                deadline,
                content_type=MERGE_PATCH,
            )
            if reply.status != 404:
                self._recurrences.remember(statement, Written(before.name, count))
                return reply
        # The name is unique enough: by the subject and the nanosecond, as client-go makes it.
        name = f"{subject.name[:230]}.{int(self._wall_clock().timestamp() * 1e9):x}"
        event = self._new(name, subject, statement)
        reply = await self._api.send("POST", folder, msgspec.json.encode(event), deadline)
        self._recurrences.remember(statement, Written(name, 1) if reply.ok else None)
        return reply

    def _new(self, name: str, subject: Subject, statement: _Statement) -> _Event:
        now = self._now()
        return _Event(
            metadata={"name": name, "namespace": subject.namespace or "default"},
            involved_object=_Reference(
                api_version=subject.api_version,
                kind=subject.kind,
                namespace=subject.namespace,
                name=subject.name,
                uid=subject.uid,
                resource_version=subject.resource_version,
            ),
            reason=statement.reason,
            message=statement.message,
            type=statement.type.value,
            source={"component": self._component},
            reporting_component=self._component,
            reporting_instance=self._instance,
            first_timestamp=now,
            last_timestamp=now,
        )

    def _now(self) -> str:
        # To the second, as core/v1 has it.
        return micro_time(self._wall_clock())[:-8] + "Z"
