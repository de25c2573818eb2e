"""The part of an OrchestrationRun that deduplication reads. Every level may be absent, null, or of a wrong type.

What is stored is held to a schema only as far as the CustomResourceDefinition has one, and a status is written past
every webhook. A run must not become unreadable, or worse unseen, because its orchestrator wrote a number as a phase. So
whatever is no identity is read as leniently as it can be.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from webhook.hooks.dedupe.core.key import DeliveryKey, is_delivery


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """`metadata`; the API server has set uid and creationTimestamp by the time a validating webhook is called."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    labels: dict[str, str] | None = None
    creation_timestamp: datetime | None = None


#: What may stand where an object is expected.
NoObject: TypeAlias = str | float | bool | list[Any] | None


class OrchestrationRef(msgspec.Struct, frozen=True):
    """`spec.orchestrationRef`."""

    name: Any = None


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """`spec`; parameters stay undecoded, since only their fingerprint is wanted and only for some."""

    orchestration_ref: OrchestrationRef | NoObject = None
    delivery_id: Any = None
    parameters: msgspec.Raw = msgspec.Raw(b"")


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """`status`, written by the orchestrator."""

    phase: Any = None
    run_id: Any = None


_NO_SPEC: Final = Spec()
_NO_STATUS: Final = Status()


class OrchestrationRun(msgspec.Struct, frozen=True):
    """A run; the properties answer for what is absent, so that nobody else has to."""

    metadata: Metadata | None = None
    spec: Spec | NoObject = None
    status: Status | NoObject = None

    @property
    def name(self) -> str:
        """`metadata.name`, or an empty string."""
        return (self.metadata and self.metadata.name) or ""

    @property
    def generate_name(self) -> str:
        """`metadata.generateName`, or an empty string."""
        return (self.metadata and self.metadata.generate_name) or ""

    @property
    def namespace(self) -> str:
        """`metadata.namespace`, or an empty string."""
        return (self.metadata and self.metadata.namespace) or ""

    @property
    def uid(self) -> str:
        """`metadata.uid`, or an empty string."""
        return (self.metadata and self.metadata.uid) or ""

    @property
    def created_at(self) -> int:
        """When it was created, in seconds since 1970; 0 if that is not known."""
        created = self.metadata.creation_timestamp if self.metadata else None
        return max(0, int(created.timestamp())) if created else 0

    @property
    def ref(self) -> str:
        """`spec.orchestrationRef.name`, or an empty string; what is no text stands for itself as JSON."""
        reference = self._spec.orchestration_ref
        if not isinstance(reference, OrchestrationRef):
            return ""
        name = reference.name
        return name if isinstance(name, str) else "" if name is None else msgspec.json.encode(name).decode()

    @property
    def delivery_id(self) -> str | None:
        """`spec.deliveryId` if it asks for deduplication, otherwise None; what is no text does not ask."""
        delivery_id = self._spec.delivery_id
        return delivery_id if isinstance(delivery_id, str) and is_delivery(delivery_id) else None

    @property
    def parameters(self) -> bytes:
        """The JSON of `spec.parameters`; empty if there are none."""
        return bytes(self._spec.parameters)

    @property
    def phase(self) -> str:
        """`status.phase`, or an empty string if that is no text, as before the orchestrator has written one."""
        return _text(self._status.phase)

    @property
    def run_id(self) -> str:
        """`status.runId`, or an empty string if that is no text."""
        return _text(self._status.run_id)

    @property
    def _spec(self) -> Spec:
        return self.spec if isinstance(self.spec, Spec) else _NO_SPEC

    @property
    def _status(self) -> Status:
        return self.status if isinstance(self.status, Status) else _NO_STATUS

    def key(self, namespace: str = "") -> DeliveryKey | None:
        """The delivery that this run is of.

        Args:
            namespace: The request's, for an object that does not carry its own yet.

        Returns:
            The key, or None if the run asks for no deduplication.
        """
        delivery_id = self.delivery_id
        return None if delivery_id is None else DeliveryKey(self.namespace or namespace, self.ref, delivery_id)


class ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """Where the next page begins."""

    continue_: str | None = msgspec.field(name="continue", default=None)
    resource_version: str | None = None


class RunList(msgspec.Struct, frozen=True):
    """A page of a LIST."""

    items: tuple[OrchestrationRun, ...] = ()
    metadata: ListMetadata = ListMetadata()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
