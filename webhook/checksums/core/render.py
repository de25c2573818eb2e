"""Checksums without a cluster: add to manifests the checksums of the Secrets and ConfigMaps among them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webhook.checksums.core import messages
from webhook.checksums.core.digest import checksum
from webhook.checksums.core.inputs import Found, Reading, Unreadable
from webhook.checksums.core.keys import NamespacedSource, Source
from webhook.checksums.core.kinds import KINDS, WorkloadId, WorkloadKind
from webhook.checksums.core.manifests import Document, Manifest, manifests, parse
from webhook.checksums.core.optin import OperatorPolicy, Problem, Requirements, required
from webhook.checksums.core.yaml_edit import Addition, edit


@dataclass(frozen=True, slots=True)
class RenderedWorkload:
    """The result for one workload.

    Attributes:
        id: Its identity.
        checksums: The checksums in its pod template, by annotation key.
        unread: Required sources that are not among the manifests, and were not looked for in a cluster.
        missing: Required sources that are neither among the manifests nor in the cluster.
        unreadable: Required sources that could not be read from the cluster, each with the reason.
        problems: Words of its opt-in that are not understood.
    """

    id: WorkloadId
    checksums: Mapping[str, str]
    unread: tuple[Source, ...]
    missing: tuple[Source, ...]
    unreadable: tuple[tuple[Source, str], ...]
    problems: tuple[Problem, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong with it, one sentence each; empty if nothing is."""
        return (
            *(f"{self.id}: {problem}." for problem in self.problems),
            *(f"{self.id}: {messages.not_among_manifests(source)}" for source in self.unread),
            *(f"{self.id}: {source} is neither among the manifests nor in the cluster." for source in self.missing),
            *(f"{self.id}: {source} could not be read ({why})." for source, why in self.unreadable),
        )

    def would_roll(self, live: Mapping[str, str]) -> tuple[str, ...]:
        """Return the keys whose checksums differ from those in the cluster.

        Args:
            live: The annotations of the pod template in the cluster.
        """
        return tuple(sorted(key for key, value in self.checksums.items() if live.get(key) != value))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The result for all manifests.

    Attributes:
        text: The manifests.
        workloads: The workloads that are opted in.
    """

    text: str
    workloads: tuple[RenderedWorkload, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong; if anything is, the exit code is 1."""
        return tuple(complaint for workload in self.workloads for complaint in workload.complaints)


class Rendering:
    """Add checksums to a stream of manifests.

    Args:
        text: The manifests: YAML or JSON, any number of documents, Lists, any kinds.
        namespace: The namespace of objects that name none.
        policy: An operator's list, if there is one.
        key: The key of keyed checksums, if they are used.
        kinds: The kinds of workloads.

    Raises:
        ManifestError: They cannot be read; the message names the line or the object.
    """

    def __init__(
        self,
        text: str,
        *,
        namespace: str = "default",
        policy: OperatorPolicy | None = None,
        key: bytes | None = None,
        kinds: Sequence[WorkloadKind] = KINDS,
    ) -> None:
        self._text = text
        self._preamble, self._documents = parse(text)
        self._targets: list[RenderTarget] = []
        self._found: dict[NamespacedSource, Reading] = {}
        rows = {(kind.api_version, kind.name): kind for kind in kinds}
        for manifest in manifests(self._documents):
            where = manifest.namespace(namespace)
            if source := manifest.source:
                self._found[where, source] = Found(checksum(*manifest.contents(), key=key))
            elif kind := rows.get((manifest.api_version, manifest.kind)):
                requirements = required(manifest.workload(kind), policy or OperatorPolicy(), where)
                self._targets.append(RenderTarget(manifest, WorkloadId(where, kind, manifest.name), requirements))

    @property
    def unresolved(self) -> frozenset[NamespacedSource]:
        """The required sources that are not among the manifests, and could be read from a cluster."""
        required_sources = {
            (target.id.namespace, source) for target in self._targets for source in target.requirements.to_read
        }
        return frozenset(required_sources - self._found.keys())

    def render(self, readings: Mapping[NamespacedSource, Reading] | None = None) -> Rendered:
        """Add the checksums.

        Args:
            readings: What was read from a cluster about the sources in `unresolved`, if it was.
        """
        readings = {**(readings or {}), **self._found}
        additions: dict[int, list[Addition]] = {}
        workloads: list[RenderedWorkload] = []
        for target in self._targets:
            if target.requirements.items or target.requirements.problems:
                workloads.append(target.resolve(readings))
                if checksums := workloads[-1].checksums:
                    path = (*target.manifest.path, *target.id.kind.annotations_path)
                    additions.setdefault(target.manifest.document, []).append(Addition(path, checksums))
        pieces = [_edited(document, additions.get(number, [])) for number, document in enumerate(self._documents)]
        return Rendered(self._preamble + "".join(pieces), tuple(workloads))

    def diff(self, rendered: Rendered) -> str:
        """Return what was added as a unified diff; empty if nothing was."""
        before, after = self._text.splitlines(keepends=True), rendered.text.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, "manifests", "rendered"))


@dataclass(frozen=True, slots=True)
class RenderTarget:
    """A workload among the manifests.

    Attributes:
        manifest: Its manifest.
        id: Its identity.
        requirements: The checksums that it should have.
    """

    manifest: Manifest
    id: WorkloadId
    requirements: Requirements

    def resolve(self, readings: Mapping[NamespacedSource, Reading]) -> RenderedWorkload:
        """Return its checksums, given what was found about their sources."""
        checksums: dict[str, str] = {}
        unread: list[Source] = []
        missing: list[Source] = []
        unreadable: list[tuple[Source, str]] = []
        for requirement in self.requirements.items:
            source, provided = requirement.source, requirement.provided
            reading = Found(provided) if provided else readings.get((self.id.namespace, source))
            if isinstance(reading, Found):
                checksums[source.key] = reading.checksum
            elif isinstance(reading, Unreadable):
                unreadable.append((source, reading.why))
            elif not requirement.optional:
                (unread if reading is None else missing).append(source)
        return RenderedWorkload(
            self.id, checksums, tuple(unread), tuple(missing), tuple(unreadable), self.requirements.problems
        )


def _edited(document: Document, additions: list[Addition]) -> str:
    if document.root is None or not additions:
        return document.text
    return edit(document.text, document.root, document.tree, additions)
