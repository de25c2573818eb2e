"""Workloads as they are decoded from JSON: one struct family for admission, one for what is stored.

Kinds differ in where their pod template is. So the structs are made once per path of the pod template: a decoder then
goes straight to the template and skips every field that is not needed.

- Admission keeps the pod template undecoded (`msgspec.Raw`), so that two templates can be compared in every field.
- The controller holds thousands of stored workloads, so it keeps nothing but what decisions are made of.
"""

from __future__ import annotations

import functools
from typing import Any, Final, cast

import msgspec

from webhook.checksums.core.keys import HELD, MANAGED, PREFIX, PROGRESS, REVISION
from webhook.checksums.core.pause import LAST_APPLIED, PAUSED_MANIFEST, is_paused_by_others
from webhook.checksums.core.podspec import PodTemplate
from webhook.kube.objects import ObjectMeta

#: The JSON of a field that is absent.
NOTHING: Final = msgspec.Raw()


class Level(msgspec.Struct, frozen=True, gc=False):
    """An object on the path to the pod template.

    Attributes:
        inner: The next level, or the pod template; None if absent. The structs that are made for a path decode it from
            the key that the path names.
    """

    inner: Any = None


class Metadata(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The `metadata` of a workload under admission; without a name if it is created by `generateName`."""

    name: str | None = None
    namespace: str | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None
    labels: msgspec.Raw = NOTHING
    managed_fields: msgspec.Raw = NOTHING


class WorkloadSpec(Level, frozen=True, rename="camel", gc=False):
    """The `spec` of a workload under admission; the undecoded fields serve to see whether a write changes anything."""

    paused: bool | None = None
    replicas: msgspec.Raw = NOTHING
    strategy: msgspec.Raw = NOTHING
    min_ready_seconds: msgspec.Raw = NOTHING
    progress_deadline_seconds: msgspec.Raw = NOTHING
    revision_history_limit: msgspec.Raw = NOTHING


class WorkloadObject(msgspec.Struct, frozen=True, gc=False):
    """A workload under admission, or a manifest."""

    metadata: Metadata | None = None
    spec: WorkloadSpec | None = None


class StoredMetadata(ObjectMeta, frozen=True, rename="camel", gc=False):
    """The `metadata` of a stored workload, with those annotations that decisions are made of.

    The others are dropped: the last applied manifest is one of them and as large as the workload itself. Of it and of
    the managed fields stays what shows who has paused a workload that is held.
    """

    generation: int = 0
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None
    managed_fields: msgspec.Raw = NOTHING

    def __post_init__(self) -> None:
        """Drop what is not needed."""
        annotations = self.annotations or {}
        others = HELD in annotations and is_paused_by_others(self.managed_fields, annotations.get(LAST_APPLIED))
        # It would keep the whole message in memory that it is a part of.
        msgspec.structs.force_setattr(self, "managed_fields", NOTHING)
        for name in [*annotations]:
            if not name.startswith(PREFIX) and name != REVISION:
                del annotations[name]
        if others:
            annotations[LAST_APPLIED] = PAUSED_MANIFEST


class RollingUpdate(msgspec.Struct, frozen=True, gc=False):
    """`rollingUpdate` of a StatefulSet; pods with a smaller ordinal than the partition are not replaced."""

    partition: int | None = None


class UpdateStrategy(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`updateStrategy` of a StatefulSet or DaemonSet."""

    type: str | None = None
    rolling_update: RollingUpdate | None = None


class StoredSpec(Level, frozen=True, rename="camel", gc=False):
    """The `spec` of a stored workload."""

    paused: bool | None = None
    replicas: int | None = None
    min_ready_seconds: int | None = None
    progress_deadline_seconds: int | None = None
    update_strategy: UpdateStrategy | None = None


class Condition(msgspec.Struct, frozen=True, gc=False):
    """An entry of `status.conditions`."""

    type: str = ""
    status: str = ""
    reason: str = ""


class Status(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The `status` of a workload; each kind has some of the fields.

    Attributes:
        observed_generation: A number; some custom resources store it as text.
    """

    observed_generation: int | str = 0
    conditions: tuple[Condition, ...] | None = None
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    current_number_scheduled: int = 0
    update_revision: str = ""


class StoredWorkload(msgspec.Struct, frozen=True, gc=False):
    """A workload as it is stored; of the pod template only what can reference Secrets and ConfigMaps."""

    metadata: StoredMetadata
    spec: StoredSpec = StoredSpec()
    status: Status = Status()

    @property
    def managed(self) -> bool:
        """Whether its pod template has checksums that rollonce wrote."""
        return MANAGED in (self.metadata.annotations or {})

    def needs_decision(self, before: StoredWorkload) -> bool:
        """Return whether something that decisions are made of has changed; a new status alone has not."""
        metadata, other = self.metadata, before.metadata
        return (
            self.spec != before.spec
            or (metadata.uid, metadata.deletion_timestamp) != (other.uid, other.deletion_timestamp)
            or _decided_by(metadata.annotations) != _decided_by(other.annotations)
        )


@functools.cache
def workload_type(template_path: tuple[str, ...]) -> type[WorkloadObject]:
    """Return the struct of workloads under admission whose pod template is at this path."""
    spec = _spec_type(template_path, WorkloadSpec, msgspec.Raw, msgspec.Raw(b"null"))
    return cast("type[WorkloadObject]", _with_spec(WorkloadObject, spec | None, None))


@functools.cache
def stored_type(template_path: tuple[str, ...]) -> type[StoredWorkload]:
    """Return the struct of stored workloads whose pod template is at this path."""
    spec = _spec_type(template_path, StoredSpec, PodTemplate | None, None)
    return cast("type[StoredWorkload]", _with_spec(StoredWorkload, spec, spec()))


def find_template(spec: Level | None) -> tuple[int, Any]:
    """Return how many levels of the path to the pod template exist, and the pod template; None if there is none."""
    depth, found = 0, spec
    while isinstance(found, Level):
        depth, found = depth + 1, found.inner
    return depth, found


def _spec_type(template_path: tuple[str, ...], base: type[Level], template: Any, absent: Any) -> type[Level]:
    inner, default = template, absent
    made = base
    for depth in range(len(template_path) - 1, 0, -1):
        field = ("inner", inner, msgspec.field(default=default, name=template_path[depth]))
        bases = (base if depth == 1 else Level,)
        made = cast("type[Level]", msgspec.defstruct(bases[0].__name__, [field], bases=bases, frozen=True, gc=False))
        inner, default = made | None, None
    return made


def _with_spec(base: type[msgspec.Struct], spec: Any, default: Any) -> type[msgspec.Struct]:
    fields = [("spec", spec, msgspec.field(default=default))]
    return msgspec.defstruct(base.__name__, fields, bases=(base,), frozen=True, gc=False)


def _decided_by(annotations: dict[str, str] | None) -> dict[str, str]:
    """Leave out the number that the Deployment controller writes after each rollout, and the progress."""
    return {name: value for name, value in (annotations or {}).items() if name not in {REVISION, PROGRESS}}
