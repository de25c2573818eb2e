"""Checksums without a cluster: manifests in, the same manifests with the checksums of what they bring along out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from webhook.hooks.checksums.core.digest import checksum
from webhook.hooks.checksums.core.facts import Absent, Found, Reading, Unreadable
from webhook.hooks.checksums.core.keys import Source
from webhook.hooks.checksums.core.manifests import Document, Manifest, manifests, parse
from webhook.hooks.checksums.core.optin import OperatorPolicy, Problem, Requirement, required
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.hooks.checksums.core.yaml_edit import Addition, edit

#: A source and the namespace that it is in.
Place: TypeAlias = tuple[str, Source]
_ANNOTATIONS = ("spec", "template", "metadata", "annotations")


@dataclass(frozen=True, slots=True)
class RenderedWorkload:
    """What became of one workload.

    Attributes:
        id: Which.
        checksums: What its pod template carries now, by annotation key.
        missing: Required sources that are neither among the manifests nor found elsewhere.
        unreadable: Required sources that could not be read elsewhere, each with the reason.
        problems: Words of its opt-in that cannot be followed.
    """

    id: WorkloadId
    checksums: Mapping[str, str]
    missing: tuple[Source, ...]
    unreadable: tuple[tuple[Source, str], ...]
    problems: tuple[Problem, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong with it, a sentence each; empty if nothing is."""
        return (
            *(f"{self.id}: {problem}." for problem in self.problems),
            *(f"{self.id}: {source} is not among the manifests." for source in self.missing),
            *(f"{self.id}: {source} could not be read ({why})." for source, why in self.unreadable),
        )

    def would_roll(self, live: Mapping[str, str]) -> tuple[str, ...]:
        """Return the keys by which the pod template differs from that of the cluster.

        Args:
            live: The annotations of the pod template in the cluster.
        """
        return tuple(sorted(key for key, value in self.checksums.items() if live.get(key) != value))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The result.

    Attributes:
        text: The manifests.
        workloads: Those that are opted in.
    """

    text: str
    workloads: tuple[RenderedWorkload, ...]

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong; if there is anything, the exit code is 1."""
        return tuple(complaint for workload in self.workloads for complaint in workload.complaints)


class Rendering:
    """A stream of manifests that is to get its checksums.

    Args:
        text: The manifests: YAML or JSON, any number of documents, Lists, any kinds.
        namespace: Where objects are that name no namespace.
        policy: An operator's list, if there is one.
        key: Of keyed checksums, if they are used.

    Raises:
        ManifestError: They cannot be read; the message names the line or the object.
    """

    def __init__(
        self, text: str, *, namespace: str = "default", policy: OperatorPolicy | None = None, key: bytes | None = None
    ) -> None:
        self._text = text
        self._preamble, self._documents = parse(text)
        self._wishes: list[_Wish] = []
        self._found: dict[Place, Reading] = {}
        for manifest in manifests(self._documents):
            where = manifest.namespace(namespace)
            if source := manifest.source:
                self._found[where, source] = Found(checksum(*manifest.contents(), key=key))
            elif manifest.is_workload:
                self._wishes.append(_Wish.of(manifest, where, policy or OperatorPolicy()))

    @property
    def elsewhere(self) -> frozenset[Place]:
        """What is wanted and not among the manifests: to be read from the cluster, if that is wished."""
        wanted = {(wish.id.namespace, one.source) for wish in self._wishes for one in wish.wanted if not one.provided}
        return frozenset(wanted - self._found.keys())

    def render(self, elsewhere: Mapping[Place, Reading] | None = None) -> Rendered:
        """Put the checksums in.

        Args:
            elsewhere: What was found out about the sources of `elsewhere`; those that are not in it are missing.
        """
        readings = {**(elsewhere or {}), **self._found}
        additions: dict[int, list[Addition]] = {}
        workloads: list[RenderedWorkload] = []
        for wish in self._wishes:
            if wish.wanted or wish.problems:
                workloads.append(wish.fulfil(readings))
                if checksums := workloads[-1].checksums:
                    addition = Addition((*wish.manifest.path, *_ANNOTATIONS), checksums)
                    additions.setdefault(wish.manifest.document, []).append(addition)
        pieces = [_edited(document, additions.get(number, [])) for number, document in enumerate(self._documents)]
        return Rendered(self._preamble + "".join(pieces), tuple(workloads))

    def diff(self, rendered: Rendered) -> str:
        """Show what was put in, as a unified diff; empty if nothing was."""
        before, after = self._text.splitlines(keepends=True), rendered.text.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, "manifests", "rendered"))


@dataclass(frozen=True, slots=True)
class _Wish:
    manifest: Manifest
    id: WorkloadId
    wanted: tuple[Requirement, ...]
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, manifest: Manifest, namespace: str, policy: OperatorPolicy) -> _Wish:
        wishes = required(manifest.workload(), policy, namespace)
        place = WorkloadId(namespace, manifest.kind, manifest.name)
        return cls(manifest, place, wishes.wanted, wishes.problems)

    def fulfil(self, readings: Mapping[Place, Reading]) -> RenderedWorkload:
        checksums: dict[str, str] = {}
        missing: list[Source] = []
        unreadable: list[tuple[Source, str]] = []
        for one in self.wanted:
            reading = Found(one.provided) if one.provided else readings.get((self.id.namespace, one.source), Absent())
            if isinstance(reading, Found):
                checksums[one.source.key] = reading.checksum
            elif isinstance(reading, Unreadable):
                unreadable.append((one.source, reading.why))
            elif not one.optional:
                missing.append(one.source)
        return RenderedWorkload(self.id, checksums, tuple(missing), tuple(unreadable), self.problems)


def _edited(document: Document, additions: list[Addition]) -> str:
    if document.root is None or not additions:
        return document.text
    return edit(document.text, document.root, document.tree, additions)
