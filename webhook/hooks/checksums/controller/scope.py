"""What is watched: by name, by namespace, or everywhere; each needs no more rights than it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from webhook.controller.listing import Selection
from webhook.hooks.checksums.controller.stored import KINDS
from webhook.hooks.checksums.core.keys import Source, SourceKind


class Access(Enum):
    """How far rollonce may look.

    Attributes:
        NAMES: At listed Secrets and ConfigMaps of listed namespaces, one watch each; `resourceNames` are enough.
        NAMESPACES: At all of listed namespaces.
        CLUSTER: At all of all namespaces.
    """

    NAMES = "names"
    NAMESPACES = "namespaces"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched.

    Attributes:
        access: How far.
        namespaces: Which, unless it is all.
        sources: Which Secrets and ConfigMaps, where it is by name; the same names in each namespace.
    """

    access: Access
    namespaces: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would watch nothing."""
        if self.access is not Access.CLUSTER and not self.namespaces:
            raise ValueError("namespaces have to be given")
        if self.access is Access.NAMES and not self.sources:
            raise ValueError("names of Secrets or ConfigMaps have to be given")

    def covers(self, namespace: str, source: Source) -> bool:
        """Whether a Secret or ConfigMap is watched."""
        here = self.access is Access.CLUSTER or namespace in self.namespaces
        return here and (self.access is not Access.NAMES or source in self.sources)

    def workloads(self) -> dict[str, tuple[Selection, ...]]:
        """What to watch of workloads, by kind."""
        return {kind: tuple(map(Selection, self._paths("apis/apps", plural))) for plural, kind in KINDS.items()}

    def objects(self) -> dict[SourceKind, tuple[Selection, ...]]:
        """What to watch of Secrets and ConfigMaps: their metadata."""
        return {kind: tuple(self._selections(kind)) for kind in SourceKind}

    @property
    def watches(self) -> int:
        """How many watches that are, each with a connection of its own."""
        return sum(map(len, (*self.workloads().values(), *self.objects().values())))

    def _selections(self, kind: SourceKind) -> Iterator[Selection]:
        names = [f"metadata.name={source.name}" for source in self.sources if source.kind is kind]
        for path in self._paths("api", kind.plural):
            for fields in names if self.access is Access.NAMES else [""]:
                yield Selection(path, fields=fields, metadata_only=True)

    def _paths(self, root: str, plural: str) -> tuple[str, ...]:
        if self.access is Access.CLUSTER:
            return (f"/{root}/v1/{plural}",)
        return tuple(f"/{root}/v1/namespaces/{namespace}/{plural}" for namespace in self.namespaces)
