"""Events on objects, as shown by `kubectl describe`: what was done, or could not be done, and why.

Events may get lost: no other work waits for them or fails because of them. They are written to core/v1, which is what
`kubectl describe` reads. Needs create and patch of `events`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from webhook.errors import KubernetesError
from webhook.kube.api import MERGE_PATCH, KubernetesApi, Reply
from webhook.kube.core.event_cache import EventCache, TokenBucket, WrittenEvent
from webhook.kube.core.lease import micro_time
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger

_WAITING: Final = 1000
_WRITE_SECONDS: Final = 10.0
#: The API server's limit of an Event's message.
_MESSAGE_LENGTH: Final = 1024


class EventType(Enum):
    """Whether the Event needs attention."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an Event is about.

    Attributes:
        api_version: Such as `apps/v1`.
        kind: Such as `Deployment`.
        namespace: Empty for a cluster-scoped object.
        name: The object's name.
        uid: The object's uid, by which `kubectl describe` finds its Events.
        resource_version: The version that the Event is about; may be empty.
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


class _Contents(NamedTuple):
    """Two Events with equal contents are the same Event."""

    subject_uid: str
    type: EventType
    reason: str
    message: str


class EventRecorder:
    """Write Events, one after the other.

    Args:
        api: The API server.
        component: The reporting component, shown as `From`.
        instance: The reporting replica.
        clock: Monotonic time and time of day.
        log: Receives Events that could not be written.
    """

    def __init__(
        self,
        api: KubernetesApi,
        *,
        component: str,
        instance: str,
        clock: Clock,
        log: Logger,
    ) -> None:
        self._api = api
        self._component = component
        self._instance = instance
        self._clock = clock
        self._log = log
        self._waiting: asyncio.Queue[tuple[Subject, _Contents]] = asyncio.Queue(_WAITING)
        self._token_bucket: TokenBucket[str] = TokenBucket()
        self._event_cache: EventCache[_Contents] = EventCache()

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        """Have an Event written soon, or counted if it equals an earlier one.

        Args:
            subject: The object that it is about.
            kind: Whether it needs attention.
            reason: One word in CamelCase.
            message: A sentence; it is cut to 1,024 bytes.
        """
        if not self._token_bucket.take(subject.uid, self._clock.monotonic()):
            return
        message = message.encode()[:_MESSAGE_LENGTH].decode(errors="ignore")
        try:
            self._waiting.put_nowait((subject, _Contents(subject.uid, kind, reason, message)))
        except asyncio.QueueFull:
            self._log.warning("event dropped, too many are waiting", reason=reason)

    async def run(self) -> None:
        """Write recorded Events until cancelled."""
        while True:
            subject, contents = await self._waiting.get()
            try:
                reply = await self._write(subject, contents)
                problem = "" if reply.ok else f"The API server answered {reply.status}."
            except KubernetesError as error:
                self._event_cache.remember(contents, None)
                problem = str(error)
            if problem:
                self._log.warning(
                    "event could not be written", object=f"{subject.namespace}/{subject.name}", problem=problem
                )
            self._waiting.task_done()

    async def flush(self) -> None:
        """Wait until every recorded Event has been written or given up."""
        await self._waiting.join()

    async def _write(self, subject: Subject, contents: _Contents) -> Reply:
        folder = f"/api/v1/namespaces/{subject.namespace or 'default'}/events"
        deadline = self._clock.deadline(_WRITE_SECONDS)
        if before := self._event_cache.find(contents):
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
                self._event_cache.remember(contents, WrittenEvent(before.name, count))
                return reply
        # As client-go makes names: by the subject and the nanosecond.
        name = f"{subject.name[:230]}.{int(self._clock.time() * 1e9):x}"
        event = self._new(name, subject, contents)
        reply = await self._api.send("POST", folder, msgspec.json.encode(event), deadline)
        self._event_cache.remember(contents, WrittenEvent(name, 1) if reply.ok else None)
        return reply

    def _new(self, name: str, subject: Subject, contents: _Contents) -> _Event:
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
            reason=contents.reason,
            message=contents.message,
            type=contents.type.value,
            source={"component": self._component},
            reporting_component=self._component,
            reporting_instance=self._instance,
            first_timestamp=now,
            last_timestamp=now,
        )

    def _now(self) -> str:
        # core/v1 has times in whole seconds.
        return micro_time(self._clock.now())[:-8] + "Z"
