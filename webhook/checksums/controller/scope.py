"""What the controller watches: by name, by namespace, or everything; the RBAC rules need allow no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from webhook.checksums.core.keys import Source, SourceKind
from webhook.checksums.core.kinds import KINDS, WorkloadKind
from webhook.checksums.settings import ACCESS, WATCH_CONFIG_MAPS, WATCH_NAMESPACES, WATCH_SECRETS
from webhook.errors import ConfigurationError
from webhook.kube.listing import Selection
from webhook.kube.rbac import Access
from webhook.runtime.options import own_namespace
from webhook.runtime.settings import Settings

#: Why a source cannot be read that may exist: its changes would be missed.
NOT_WATCHED: Final = "it is not among what is watched"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched.

    Attributes:
        access: Which Secrets and ConfigMaps.
        namespaces: The namespaces; empty with `Access.CLUSTER`.
        sources: With `Access.NAMES`: the Secrets and ConfigMaps, the same names in each namespace.
        kinds: The kinds of workloads.

    Raises:
        ValueError: Nothing would be watched.
    """

    access: Access
    namespaces: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    kinds: tuple[WorkloadKind, ...] = KINDS

    def __post_init__(self) -> None:
        """Reject a scope without anything to watch."""
        if self.access is not Access.CLUSTER and not self.namespaces:
            raise ValueError("namespaces have to be given")
        if self.access is Access.NAMES and not self.sources:
            raise ValueError("names of Secrets or ConfigMaps have to be given")

    def covers(self, namespace: str, source: Source) -> bool:
        """Return whether a Secret or ConfigMap is watched."""
        in_namespace = self.access is Access.CLUSTER or namespace in self.namespaces
        return in_namespace and (self.access is not Access.NAMES or source in self.sources)

    def workload_selections(self) -> dict[WorkloadKind, tuple[Selection, ...]]:
        """Return what to watch of workloads, by kind."""
        return {kind: tuple(Selection(kind.path(namespace)) for namespace in self._namespaces) for kind in self.kinds}

    def source_selections(self) -> dict[SourceKind, tuple[Selection, ...]]:
        """Return what to watch of Secrets and ConfigMaps, by kind: their metadata only."""
        return {kind: tuple(self._selections(kind)) for kind in SourceKind}

    @property
    def watches(self) -> int:
        """How many watches there are; each occupies a connection."""
        return sum(map(len, (*self.workload_selections().values(), *self.source_selections().values())))

    @property
    def _namespaces(self) -> tuple[str, ...]:
        return ("",) if self.access is Access.CLUSTER else self.namespaces

    def _selections(self, kind: SourceKind) -> Iterator[Selection]:
        names = [f"metadata.name={source.name}" for source in self.sources if source.kind is kind]
        for namespace in self._namespaces:
            path = f"/api/v1/namespaces/{namespace}/{kind.plural}" if namespace else f"/api/v1/{kind.plural}"
            for fields in names if self.access is Access.NAMES else [""]:
                yield Selection(path, fields=fields, metadata_only=True)


def scope_of(settings: Settings, kinds: tuple[WorkloadKind, ...]) -> Scope:
    """Return what the settings say is watched.

    Raises:
        ConfigurationError: Nothing would be watched, or the settings contradict each other.
    """
    access, namespaces = settings[ACCESS], settings[WATCH_NAMESPACES]
    if access is Access.CLUSTER:
        if namespaces:
            raise ConfigurationError(
                f"{settings.source(WATCH_NAMESPACES)}: with access cluster all namespaces are watched; leave it "
                f"out, or choose {ACCESS.flag} namespaces."
            )
        return Scope(access, kinds=kinds)
    secrets = (Source(SourceKind.SECRET, name) for name in settings[WATCH_SECRETS])
    config_maps = (Source(SourceKind.CONFIG_MAP, name) for name in settings[WATCH_CONFIG_MAPS])
    try:
        return Scope(access, namespaces or (own_namespace(settings),), (*secrets, *config_maps), kinds)
    except ValueError:
        raise ConfigurationError(
            f"{settings.source(ACCESS)}: with access names, give {WATCH_SECRETS.flag} or {WATCH_CONFIG_MAPS.flag}."
        ) from None
