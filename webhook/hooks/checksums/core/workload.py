"""The part of a Deployment, StatefulSet or DaemonSet that checksums are about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from webhook.admission.patch import Add, PatchOperation, Remove, annotation_operations, pointer
from webhook.admission.review import describe
from webhook.errors import MalformedReviewError
from webhook.hooks.checksums.core.keys import HELD, MANAGED, parse_managed
from webhook.hooks.checksums.core.podspec import PodSpec, PodTemplate

#: The kind whose rollouts can be paused, and which therefore can be held.
DEPLOYMENT: Final = "Deployment"
#: Where `kubectl apply` without `--server-side` leaves the manifest as its author wrote it.
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_TEMPLATE_METADATA: Final = ("spec", "template", "metadata")


class _OwnedSpec(msgspec.Struct, frozen=True):
    paused: msgspec.Raw = msgspec.field(name="f:paused", default=msgspec.Raw())


class _OwnedFields(msgspec.Struct, frozen=True):
    spec: _OwnedSpec | None = msgspec.field(name="f:spec", default=None)


class ManagedFieldsEntry(msgspec.Struct, frozen=True, rename="camel"):
    """Who owns which fields; of the fields only whether `spec.paused` is among them."""

    operation: str = ""
    fields_v1: _OwnedFields | None = msgspec.field(name="fieldsV1", default=None)


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """`metadata`."""

    name: str | None = None
    namespace: str | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None
    managed_fields: tuple[ManagedFieldsEntry, ...] | None = None


class WorkloadSpec(msgspec.Struct, frozen=True):
    """`spec`; the template stays as it came, so that two can be compared in every field."""

    paused: bool | None = None
    template: msgspec.Raw = msgspec.Raw(b"null")


class WorkloadObject(msgspec.Struct, frozen=True):
    """A Deployment, StatefulSet or DaemonSet as it comes from the API server."""

    metadata: Metadata | None = None
    spec: WorkloadSpec | None = None


class _AppliedSpec(msgspec.Struct, frozen=True):
    paused: bool | None = None


class _Applied(msgspec.Struct, frozen=True):
    spec: _AppliedSpec | None = None


_template_decoder: Final = msgspec.json.Decoder(PodTemplate | None)
_applied_decoder: Final = msgspec.json.Decoder(_Applied)


@dataclass(frozen=True, slots=True, order=True)
class WorkloadId:
    """Which workload.

    Attributes:
        namespace: Where it lives.
        kind: `Deployment`, `StatefulSet` or `DaemonSet`.
        name: Its `metadata.name`.
    """

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind.lower()}/{self.name}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as the decisions see it, with nothing absent or null left to think of.

    Attributes:
        kind: `Deployment`, `StatefulSet` or `DaemonSet`.
        annotations: Its own.
        template_annotations: Those of its pod template.
        pod_spec: Of its pod template.
        paused: Whether its rollouts are paused, by whomever.
        deleting: Whether it waits for its finalizers only.
    """

    kind: str
    annotations: Mapping[str, str]
    template_annotations: Mapping[str, str]
    pod_spec: PodSpec
    paused: bool
    deleting: bool
    _object: WorkloadObject = field(repr=False)
    _template: PodTemplate | None = field(repr=False)

    @classmethod
    def of(cls, kind: str, manifest: WorkloadObject) -> Workload:
        """Look at a workload.

        Raises:
            MalformedReviewError: A needed field of its pod template has the wrong type.
        """
        spec = manifest.spec or WorkloadSpec()
        try:
            template = _template_decoder.decode(spec.template)
        except msgspec.DecodeError as error:
            raise MalformedReviewError(f"The pod template cannot be read: {describe(error)}") from None
        return cls.with_template(kind, manifest, template)

    @classmethod
    def with_template(cls, kind: str, manifest: WorkloadObject, template: PodTemplate | None) -> Workload:
        """Look at a workload whose pod template has been decoded already, and was not kept as it came.

        What comes of it cannot be compared by `same_template`.
        """
        metadata = manifest.metadata or Metadata()
        shape = template or PodTemplate()
        return cls(
            kind=kind,
            annotations=metadata.annotations or {},
            template_annotations=(shape.metadata.annotations if shape.metadata else None) or {},
            pod_spec=shape.spec or PodSpec(),
            paused=(manifest.spec or WorkloadSpec()).paused is True,
            deleting=metadata.deletion_timestamp is not None,
            _object=manifest,
            _template=template,
        )

    @property
    def managed(self) -> frozenset[str]:
        """The checksum keys that rollonce wrote to the pod template."""
        return parse_managed(self.annotations.get(MANAGED))

    @property
    def can_pause(self) -> bool:
        """Whether this kind has `spec.paused` at all."""
        return self.kind == DEPLOYMENT

    @property
    def held(self) -> bool:
        """Whether it is paused, and by rollonce."""
        return self.can_pause and self.paused and HELD in self.annotations

    @property
    def says_not_paused(self) -> bool:
        """Whether its author wrote `paused: false` into the manifest.

        The API server drops a false value before webhooks see the object; what is left are the owned fields of a
        server-side apply and the manifest that a client-side apply puts into an annotation.
        """
        metadata = self._object.metadata or Metadata()
        owned = any(
            entry.operation == "Apply"
            and entry.fields_v1
            and entry.fields_v1.spec
            and bytes(entry.fields_v1.spec.paused)
            for entry in metadata.managed_fields or ()
        )
        return not self.paused and (owned or _applied_paused(self.annotations.get(LAST_APPLIED)) is False)

    def same_template(self, other: Workload, *, ignoring: Collection[str]) -> bool:
        """Whether two pod templates are equal but for some annotations."""
        mine, theirs = self._raw_template, other._raw_template
        return bytes(mine) == bytes(theirs) or _without(mine, ignoring) == _without(theirs, ignoring)

    def annotation_patch(self, wanted: Mapping[str, str]) -> tuple[PatchOperation, ...]:
        """The fewest operations that give the workload these annotations."""
        metadata = self._object.metadata
        current = metadata.annotations if metadata else None
        return annotation_operations(
            ("metadata", "annotations"), current, dict(wanted), parents_exist=1 if metadata else 0
        )

    def template_patch(self, wanted: Mapping[str, str]) -> tuple[PatchOperation, ...]:
        """The fewest operations that give the pod template these annotations."""
        existing = (self._object.spec, self._template, self._template and self._template.metadata)
        depth = next((depth for depth, part in enumerate(existing) if part is None), len(existing))
        current = self._template.metadata.annotations if self._template and self._template.metadata else None
        return annotation_operations((*_TEMPLATE_METADATA, "annotations"), current, dict(wanted), parents_exist=depth)

    def pause_patch(self, *, paused: bool) -> tuple[PatchOperation, ...]:
        """What pauses rollouts or lets them go on; nothing if it is so already."""
        if paused == self.paused:
            return ()
        path = pointer("spec", "paused")
        return (Add(path, True),) if paused else (Remove(path),)

    @property
    def _raw_template(self) -> msgspec.Raw:
        return (self._object.spec or WorkloadSpec()).template


def _applied_paused(manifest: str | None) -> bool | None:
    try:
        applied = _applied_decoder.decode(manifest or "{}")
    except msgspec.DecodeError:
        return None
    return applied.spec.paused if applied.spec else None


def _without(template: msgspec.Raw, ignoring: Collection[str]) -> dict[str, Any]:
    """A template as plain JSON for comparing; absent, null and empty annotations are the same."""
    plain: dict[str, Any] = msgspec.json.decode(template) or {}
    metadata = dict(plain.get("metadata") or {})
    annotations = metadata.pop("annotations", None) or {}
    kept = {key: value for key, value in annotations.items() if key not in ignoring}
    return {**plain, "metadata": metadata, "annotations": kept}
