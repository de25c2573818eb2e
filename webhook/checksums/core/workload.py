"""A workload as decisions are made about it: the same for all kinds, and for both ways of decoding."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from webhook.admission.patch import PatchOperation, diff
from webhook.admission.review import describe
from webhook.checksums.core.keys import HELD, MANAGED, parse_managed
from webhook.checksums.core.kinds import WorkloadKind
from webhook.checksums.core.objects import (
    NOTHING,
    Metadata,
    StoredMetadata,
    StoredSpec,
    StoredWorkload,
    WorkloadObject,
    WorkloadSpec,
    find_template,
)
from webhook.checksums.core.pause import LAST_APPLIED, is_paused_by_others, pause_in_manifest
from webhook.checksums.core.podspec import PodSpec, PodTemplate
from webhook.errors import MalformedReviewError

_ANNOTATIONS_PATH: Final = ("metadata", "annotations")
_NO_TEMPLATE: Final = msgspec.Raw(b"null")

_Tree = dict[str, Any]


_template_decoder: Final = msgspec.json.Decoder(PodTemplate | None)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload in which what is absent or null reads as empty.

    Attributes:
        kind: Its kind.
        annotations: Its annotations.
        template_annotations: The annotations of its pod template.
        pod_spec: The pod spec of its pod template.
        paused: Whether its rollouts are paused, by rollonce or by a user.
        deleting: Whether it is being deleted and waits for its finalizers.
    """

    kind: WorkloadKind
    annotations: Mapping[str, str]
    template_annotations: Mapping[str, str]
    pod_spec: PodSpec
    paused: bool
    deleting: bool
    _managed_fields: msgspec.Raw = field(repr=False)
    _template: msgspec.Raw = field(repr=False)
    #: The JSON of what decisions are not made of; empty for a stored object.
    _others: tuple[msgspec.Raw, ...] = field(repr=False)
    #: How many objects exist on the path of the annotations, and on that of the pod template's annotations.
    _depth: int = field(repr=False)
    _template_depth: int = field(repr=False)

    @classmethod
    def of(cls, kind: WorkloadKind, manifest: WorkloadObject) -> Workload:
        """Return the workload of a review or a manifest.

        Raises:
            MalformedReviewError: A needed field of its pod template has the wrong type.
        """
        depth, raw = find_template(manifest.spec)
        raw = _NO_TEMPLATE if raw is None else raw
        try:
            template = _template_decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise MalformedReviewError(f"The pod template cannot be read: {describe(error)}") from None
        return cls._make(kind, manifest.metadata, manifest.spec, (depth, template), raw=raw, others=_others(manifest))

    @classmethod
    def of_stored(cls, kind: WorkloadKind, stored: StoredWorkload) -> Workload:
        """Return the workload of a stored object; it cannot be compared by `same_template`."""
        return cls._make(kind, stored.metadata, stored.spec, find_template(stored.spec))

    @classmethod
    def _make(
        cls,
        kind: WorkloadKind,
        metadata: Metadata | StoredMetadata | None,
        spec: WorkloadSpec | StoredSpec | None,
        found: tuple[int, PodTemplate | None],
        *,
        raw: msgspec.Raw = _NO_TEMPLATE,
        others: tuple[msgspec.Raw, ...] = (),
    ) -> Workload:
        depth, template = found
        annotations = metadata.annotations if metadata else None
        template_metadata = template.metadata if template else None
        template_annotations = template_metadata.annotations if template_metadata else None
        return cls(
            kind=kind,
            annotations=annotations or {},
            template_annotations=template_annotations or {},
            pod_spec=(template.spec if template else None) or PodSpec(),
            paused=spec is not None and spec.paused is True,
            deleting=metadata is not None and metadata.deletion_timestamp is not None,
            _managed_fields=metadata.managed_fields if metadata else NOTHING,
            _template=raw,
            _others=others,
            _depth=_present(metadata, annotations),
            _template_depth=depth + _present(template, template_metadata, template_annotations),
        )

    @property
    def managed(self) -> frozenset[str]:
        """The checksum keys that rollonce wrote to the pod template."""
        return parse_managed(self.annotations.get(MANAGED))

    @property
    def checksums(self) -> dict[str, str]:
        """The checksums in its pod template that rollonce wrote."""
        managed = self.managed
        return {key: value for key, value in self.template_annotations.items() if key in managed}

    @property
    def held(self) -> bool:
        """Whether it is paused by rollonce, and by nobody else."""
        paused = self.kind.can_pause and self.paused and HELD in self.annotations
        return paused and not is_paused_by_others(self._managed_fields, self.annotations.get(LAST_APPLIED))

    @property
    def manifest_pause(self) -> bool | None:
        """The value of `paused` in the manifest of a workload that is not paused; None if it has none."""
        if self.paused:
            return None
        return pause_in_manifest(self._managed_fields, self.annotations.get(LAST_APPLIED))

    def is_same(self, other: Workload) -> bool:
        """Return whether a write of it would change nothing of the other; both are of one review."""
        return (
            (self.annotations, self.template_annotations, self.paused)
            == (other.annotations, other.template_annotations, other.paused)
            and bytes(self._template) == bytes(other._template)
            and bytes(self._managed_fields) == bytes(other._managed_fields)
            and self._others == other._others
        )

    def same_template(self, other: Workload, *, ignoring: Collection[str]) -> bool:
        """Return whether two pod templates are equal, apart from the annotations with these keys."""
        template, other_template = self._template, other._template
        return bytes(template) == bytes(other_template) or (
            _without(template, ignoring) == _without(other_template, ignoring)
        )

    def patch(
        self,
        *,
        annotations: Mapping[str, str] | None = None,
        template_annotations: Mapping[str, str] | None = None,
        paused: bool | None = None,
    ) -> tuple[PatchOperation, ...]:
        """Return the fewest operations that change the workload; what is not given stays as it is.

        Args:
            annotations: All annotations that the workload should have.
            template_annotations: All annotations that its pod template should have.
            paused: Whether its rollouts should be paused.
        """
        before: _Tree = {}
        after: _Tree = {}
        for path, depth, current, desired in (
            (_ANNOTATIONS_PATH, self._depth, self.annotations, annotations),
            (self.kind.annotations_path, self._template_depth, self.template_annotations, template_annotations),
        ):
            if desired is None or desired == current:
                continue
            # Equal values need not be compared again: one of them can be a manifest of a quarter of a megabyte.
            keys = {key for key in (*current, *desired) if current.get(key) != desired.get(key)}
            _put(before, path, depth, {key: value for key, value in current.items() if key in keys})
            _put(after, path, depth, {key: value for key, value in desired.items() if key in keys})
        if paused is not None and paused != self.paused:
            for tree, value in ((before, self.paused), (after, paused)):
                _put(tree, ("spec",), min(self._template_depth, 1), {"paused": True} if value else {})
        return diff(before, after)


def _present(*chain: object) -> int:
    """Return how many objects exist, each of which is inside of the one before."""
    return next((depth for depth, found in enumerate(chain) if found is None), len(chain))


def _put(tree: _Tree, path: tuple[str, ...], depth: int, entries: Mapping[str, Any]) -> None:
    """Put entries at a path of which so many objects exist already."""
    for token in path if entries else path[:depth]:
        tree = tree.setdefault(token, {})
    tree.update(entries)


def _others(manifest: WorkloadObject) -> tuple[msgspec.Raw, ...]:
    metadata, spec = manifest.metadata or Metadata(), manifest.spec or WorkloadSpec()
    return (
        metadata.labels,
        spec.replicas,
        spec.strategy,
        spec.min_ready_seconds,
        spec.progress_deadline_seconds,
        spec.revision_history_limit,
    )


def _without(template: msgspec.Raw, ignoring: Collection[str]) -> _Tree:
    """Return a template for comparison; absent, null and empty annotations are the same."""
    plain: _Tree = msgspec.json.decode(template) or {}
    metadata = dict(plain.get("metadata") or {})
    annotations = metadata.pop("annotations", None) or {}
    kept = {key: value for key, value in annotations.items() if key not in ignoring}
    return {**plain, "metadata": metadata, "annotations": kept}
