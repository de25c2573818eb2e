"""The fields of a pod template that can name a Secret or ConfigMap, and which objects they name.

All other fields are skipped by the decoder. Each field may be absent or null.
Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/

Counted are environment variables, `envFrom`, and Secret, ConfigMap and projected volumes, in containers, init
containers and sidecars (init containers that keep running). Not counted are `imagePullSecrets` and the credentials of
storage drivers: the kubelet uses those before the containers start, and a running pod needs no restart when they
change. They may be named in the opt-in annotation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import msgspec

from webhook.checksums.core.keys import Source, SourceKind


class NamedReference(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`secretKeyRef`, `configMapKeyRef`, `secretRef`, `configMapRef`, a ConfigMap volume, and projected sources."""

    name: str | None = None
    optional: bool | None = None


class SecretVolume(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A Secret volume; its field for the name differs from all others."""

    secret_name: str | None = None
    optional: bool | None = None


class EnvVarSource(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`env[].valueFrom`."""

    secret_key_ref: NamedReference | None = None
    config_map_key_ref: NamedReference | None = None


class EnvVar(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`env[]`."""

    value_from: EnvVarSource | None = None


class EnvFromSource(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`envFrom[]`."""

    secret_ref: NamedReference | None = None
    config_map_ref: NamedReference | None = None


class Container(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`containers[]` and `initContainers[]`, sidecars included."""

    env: tuple[EnvVar, ...] | None = None
    env_from: tuple[EnvFromSource, ...] | None = None


class ProjectedSource(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`volumes[].projected.sources[]`."""

    secret: NamedReference | None = None
    config_map: NamedReference | None = None


class ProjectedVolume(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`volumes[].projected`."""

    sources: tuple[ProjectedSource, ...] | None = None


class Volume(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`volumes[]`."""

    secret: SecretVolume | None = None
    config_map: NamedReference | None = None
    projected: ProjectedVolume | None = None


class PodSpec(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The `spec` of a pod template."""

    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    volumes: tuple[Volume, ...] | None = None


class PodTemplateMetadata(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The `metadata` of a pod template."""

    annotations: dict[str, str] | None = None


class PodTemplate(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A pod template."""

    metadata: PodTemplateMetadata | None = None
    spec: PodSpec | None = None


def references(pod: PodSpec) -> dict[Source, bool]:
    """Return the Secrets and ConfigMaps that a pod template references.

    Args:
        pod: The pod spec of the template.

    Returns:
        For each source whether it is optional, in order of appearance. A source is optional only if all references to
        it are: one required reference keeps the pod from starting.
    """
    found: dict[Source, bool] = {}
    containers = chain(pod.init_containers or (), pod.containers or ())
    pairs = chain(
        chain.from_iterable(map(_of_container, containers)), chain.from_iterable(map(_of_volume, pod.volumes or ()))
    )
    for source, optional in pairs:
        found[source] = optional and found.get(source, True)
    return found


def _of_container(container: Container) -> Iterator[tuple[Source, bool]]:
    for variable in container.env or ():
        if variable.value_from:
            yield from _reference(SourceKind.SECRET, variable.value_from.secret_key_ref)
            yield from _reference(SourceKind.CONFIG_MAP, variable.value_from.config_map_key_ref)
    for everything in container.env_from or ():
        yield from _reference(SourceKind.SECRET, everything.secret_ref)
        yield from _reference(SourceKind.CONFIG_MAP, everything.config_map_ref)


def _of_volume(volume: Volume) -> Iterator[tuple[Source, bool]]:
    yield from _reference(SourceKind.SECRET, volume.secret)
    yield from _reference(SourceKind.CONFIG_MAP, volume.config_map)
    sources: tuple[ProjectedSource, ...] = (volume.projected.sources if volume.projected else None) or ()
    for projected in sources:
        yield from _reference(SourceKind.SECRET, projected.secret)
        yield from _reference(SourceKind.CONFIG_MAP, projected.config_map)


def _reference(kind: SourceKind, reference: NamedReference | SecretVolume | None) -> Iterator[tuple[Source, bool]]:
    if reference is None:
        return
    name = reference.secret_name if isinstance(reference, SecretVolume) else reference.name
    # The API accepts a reference without a name, which has no effect.
    if name:
        yield Source(kind, name), reference.optional is True
