"""Which Secrets and ConfigMaps the containers of a pod template see.

Counted are environment variables, `envFrom`, Secret, ConfigMap and projected volumes, in containers, init containers
and sidecars (init containers that go on running). Not counted are `imagePullSecrets` and what the drivers of CSI and
other storage log in with: the kubelet uses those before the containers start, and a running pod needs no restart for
them. They may be named in the opt-in annotation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from webhook.hooks.checksums.core.keys import Source, SourceKind
from webhook.hooks.checksums.core.podspec import (
    Container,
    NamedReference,
    PodSpec,
    ProjectedSource,
    SecretVolume,
    Volume,
)


def references(pod: PodSpec) -> dict[Source, bool]:
    """Find what a pod template references.

    Args:
        pod: Its pod spec.

    Returns:
        Each source with whether it is optional, in order of appearance. It is optional only if all references to it
        are: one that is not keeps the pod from starting.
    """
    found: dict[Source, bool] = {}
    containers = chain(pod.init_containers or (), pod.containers or ())
    mentions = chain(
        chain.from_iterable(map(_of_container, containers)), chain.from_iterable(map(_of_volume, pod.volumes or ()))
    )
    for source, optional in mentions:
        found[source] = optional and found.get(source, True)
    return found


def _of_container(container: Container) -> Iterator[tuple[Source, bool]]:
    for variable in container.env or ():
        if variable.value_from:
            yield from _mention(SourceKind.SECRET, variable.value_from.secret_key_ref)
            yield from _mention(SourceKind.CONFIG_MAP, variable.value_from.config_map_key_ref)
    for everything in container.env_from or ():
        yield from _mention(SourceKind.SECRET, everything.secret_ref)
        yield from _mention(SourceKind.CONFIG_MAP, everything.config_map_ref)


def _of_volume(volume: Volume) -> Iterator[tuple[Source, bool]]:
    yield from _mention(SourceKind.SECRET, volume.secret)
    yield from _mention(SourceKind.CONFIG_MAP, volume.config_map)
    sources: tuple[ProjectedSource, ...] = (volume.projected.sources if volume.projected else None) or ()
    for projected in sources:
        yield from _mention(SourceKind.SECRET, projected.secret)
        yield from _mention(SourceKind.CONFIG_MAP, projected.config_map)


def _mention(kind: SourceKind, reference: NamedReference | SecretVolume | None) -> Iterator[tuple[Source, bool]]:
    if reference is None:
        return
    name = reference.secret_name if isinstance(reference, SecretVolume) else reference.name
    # The API still accepts a reference without a name; it means nothing.
    if name:
        yield Source(kind, name), reference.optional is True
