"""The part of an OrchestrationRun that deduplication reads. Every level may be absent, null, or of a wrong type.

The API server checks objects only as far as the CustomResourceDefinition has a schema, and no webhook is called for a
status. A run must not become unreadable, or be overlooked, because its orchestrator wrote a number as the phase. So
every field that is not part of the identity is decoded leniently.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import msgspec

from webhook.admission.review import is_path_segment
from webhook.dedupe.core.fingerprint import fingerprint
from webhook.dedupe.core.identity import DeliveryKey, is_delivery
from webhook.errors import MalformedReviewError

#: In seconds since 1970; a record has 32 bits for a time.
_END_OF_TIME: Final = 2**32


@dataclass(frozen=True, slots=True)
class Resource:
    """A namespaced custom resource.

    Attributes:
        group: The API group.
        version: The served version that is read.
        plural: The plural name, as in URLs.
        kind: The kind, as in manifests and answers.
    """

    group: str
    version: str
    plural: str
    kind: str

    def collection(self, namespace: str = "") -> str:
        """Return the path of all objects in a namespace, or in all namespaces if it is empty."""
        within = f"namespaces/{quote(namespace, safe='')}/" if namespace else ""
        return f"/apis/{self.group}/{self.version}/{within}{self.plural}"

    def item(self, namespace: str, name: str) -> str:
        """Return the path of one object."""
        return f"{self.collection(namespace)}/{quote(name, safe='')}"


#: The resource that is deduplicated.
ORCHESTRATION_RUNS: Final = Resource("orchestration.proompteng.ai", "v1alpha1", "orchestrationruns", "OrchestrationRun")


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """`metadata`; the API server sets uid and creationTimestamp before it calls a validating webhook."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    labels: dict[str, str] | None = None
    creation_timestamp: datetime | None = None


#: Values of a wrong type, in place of an object.
NoObject: TypeAlias = str | float | bool | list[Any] | None


class OrchestrationRef(msgspec.Struct, frozen=True):
    """`spec.orchestrationRef`."""

    name: Any = None


class Spec(msgspec.Struct, frozen=True, rename="camel"):
    """`spec`; parameters stay undecoded, because only their fingerprint is needed, and only sometimes."""

    orchestration_ref: OrchestrationRef | NoObject = None
    delivery_id: Any = None
    parameters: msgspec.Raw = msgspec.Raw(b"")


class CompactSpec(Spec, frozen=True, rename="camel"):
    """A spec that keeps the fingerprint instead of the parameters, which are a view of the whole review."""

    known_fingerprint: bytes = b""


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """`status`, written by the orchestrator."""

    phase: Any = None
    run_id: Any = None


_NO_SPEC: Final = Spec()
_NO_STATUS: Final = Status()


class OrchestrationRun(msgspec.Struct, frozen=True):
    """A run; its properties return defaults for what is absent or of a wrong type."""

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
    def labels(self) -> dict[str, str] | None:
        """`metadata.labels`; None if they are absent or null."""
        return self.metadata.labels if self.metadata else None

    @property
    def created_at(self) -> int:
        """The time of creation in seconds since 1970; 0 if unknown."""
        created = self.metadata.creation_timestamp if self.metadata else None
        if created is None:
            return 0
        # Without a zone, years before 1970 could not be converted.
        return max(0, int((created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()))

    @property
    def ref(self) -> str:
        """`spec.orchestrationRef.name`, or an empty string; a name that is not a string counts as its JSON text."""
        reference = self._spec.orchestration_ref
        if not isinstance(reference, OrchestrationRef):
            return ""
        name = reference.name
        return name if isinstance(name, str) else "" if name is None else msgspec.json.encode(name).decode()

    @property
    def delivery_id(self) -> str | None:
        """`spec.deliveryId` if it asks for deduplication, otherwise None; one that is not a string does not ask."""
        delivery_id = self._spec.delivery_id
        return delivery_id if isinstance(delivery_id, str) and is_delivery(delivery_id) else None

    @property
    def parameters(self) -> bytes:
        """The JSON of `spec.parameters`; empty if there are none."""
        return bytes(self._spec.parameters)

    @property
    def fingerprint(self) -> bytes:
        """8 bytes over `spec.parameters`; computed at each use, unless the run is compact."""
        spec = self._spec
        return spec.known_fingerprint if isinstance(spec, CompactSpec) else fingerprint(self.parameters)

    def compact(self) -> OrchestrationRun:
        """Return the run of a review without its parameters, but with their fingerprint.

        Raises:
            MalformedReviewError: It has names or a time that no API server sends. The message does not repeat them.
        """
        wrong = {
            "name": self.name != "" and not is_path_segment(self.name),
            "namespace": self.namespace != "" and not is_path_segment(self.namespace),
            "uid": self.uid != "" and not is_path_segment(self.uid),
            "creationTimestamp": self.created_at >= _END_OF_TIME,
        }
        for field, is_wrong in wrong.items():
            if is_wrong:
                raise MalformedReviewError(f"The run's metadata.{field} is not one that the API server sends.")
        if not isinstance(self.spec, Spec):
            return self
        reference, delivery_id = self.spec.orchestration_ref, self.spec.delivery_id
        spec = CompactSpec(reference, delivery_id, known_fingerprint=self.fingerprint)
        return msgspec.structs.replace(self, spec=spec)

    @property
    def phase(self) -> str:
        """`status.phase`, or an empty string if it is absent or not a string."""
        return _text(self._status.phase)

    @property
    def run_id(self) -> str:
        """`status.runId`, or an empty string if it is absent or not a string."""
        return _text(self._status.run_id)

    @property
    def _spec(self) -> Spec:
        return self.spec if isinstance(self.spec, Spec) else _NO_SPEC

    @property
    def _status(self) -> Status:
        return self.status if isinstance(self.status, Status) else _NO_STATUS

    def key(self, namespace: str = "") -> DeliveryKey | None:
        """Return the identity of this run's delivery.

        Args:
            namespace: That of the request, for an object that has no namespace yet.

        Returns:
            The key, or None if the run does not ask for deduplication.
        """
        delivery_id = self.delivery_id
        return None if delivery_id is None else DeliveryKey(self.namespace or namespace, self.ref, delivery_id)


def changed_identity(old: OrchestrationRun, new: OrchestrationRun) -> tuple[str, ...]:
    """Return the immutable fields that an update changes; empty if neither object asks for deduplication."""
    if old.delivery_id is None and new.delivery_id is None:
        return ()
    fields = (
        ("spec.deliveryId", old.delivery_id, new.delivery_id),
        ("spec.orchestrationRef", old.ref, new.ref),
    )
    return tuple(field for field, before, after in fields if before != after)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
