"""The part of an OrchestrationRun that deduplication reads. Every level may be absent or null."""

from __future__ import annotations

from datetime import datetime

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


class OrchestrationRef(msgspec.Struct, frozen=True):
    """`spec.orchestrationRef`."""

    name: str | None = None


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """`spec`; parameters stay undecoded, since only their fingerprint is wanted and only for some."""

    orchestration_ref: OrchestrationRef | None = None
    delivery_id: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"")


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """`status`, written by the orchestrator."""

    phase: str | None = None
    run_id: str | None = None


class OrchestrationRun(msgspec.Struct, frozen=True):
    """A run; the properties answer for what is absent, so that nobody else has to."""

    metadata: Metadata | None = None
    spec: Spec | None = None
    status: Status | None = None

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
        return int(created.timestamp()) if created else 0

    @property
    def ref(self) -> str:
        """`spec.orchestrationRef.name`, or an empty string."""
        reference = self.spec.orchestration_ref if self.spec else None
        return (reference and reference.name) or ""

    @property
    def delivery_id(self) -> str | None:
        """`spec.deliveryId` if it asks for deduplication, otherwise None."""
        delivery_id = self.spec.delivery_id if self.spec else None
        return delivery_id if is_delivery(delivery_id) else None

    @property
    def parameters(self) -> bytes:
        """The JSON of `spec.parameters`; empty if there are none."""
        return bytes(self.spec.parameters) if self.spec else b""

    @property
    def phase(self) -> str:
        """`status.phase`, or an empty string before the orchestrator has written one."""
        return (self.status and self.status.phase) or ""

    @property
    def run_id(self) -> str:
        """`status.runId`, or an empty string."""
        return (self.status and self.status.run_id) or ""

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
    """A page of a LIST; its objects stay undecoded, so that an odd one does not hide the others."""

    items: tuple[msgspec.Raw, ...] = ()
    metadata: ListMetadata = ListMetadata()
