"""The fields of a pod template that can name a Secret or ConfigMap; everything else is skipped by the decoder.

Any of them may be absent or null. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import msgspec


class NamedReference(msgspec.Struct, frozen=True, rename="camel"):
    """`secretKeyRef`, `configMapKeyRef`, `secretRef`, `configMapRef`, a ConfigMap volume and projected sources."""

    name: str | None = None
    optional: bool | None = None


class SecretVolume(msgspec.Struct, frozen=True, rename="camel"):
    """A Secret volume, whose field has another name than everywhere else."""

    secret_name: str | None = None
    optional: bool | None = None


class EnvVarSource(msgspec.Struct, frozen=True, rename="camel"):
    """`env[].valueFrom`."""

    secret_key_ref: NamedReference | None = None
    config_map_key_ref: NamedReference | None = None


class EnvVar(msgspec.Struct, frozen=True, rename="camel"):
    """`env[]`."""

    value_from: EnvVarSource | None = None


class EnvFromSource(msgspec.Struct, frozen=True, rename="camel"):
    """`envFrom[]`."""

    secret_ref: NamedReference | None = None
    config_map_ref: NamedReference | None = None


class Container(msgspec.Struct, frozen=True, rename="camel"):
    """`containers[]` and `initContainers[]`, sidecars among them."""

    env: tuple[EnvVar, ...] | None = None
    env_from: tuple[EnvFromSource, ...] | None = None


class ProjectedSource(msgspec.Struct, frozen=True, rename="camel"):
    """`volumes[].projected.sources[]`."""

    secret: NamedReference | None = None
    config_map: NamedReference | None = None


class ProjectedVolume(msgspec.Struct, frozen=True, rename="camel"):
    """`volumes[].projected`."""

    sources: tuple[ProjectedSource, ...] | None = None


class Volume(msgspec.Struct, frozen=True, rename="camel"):
    """`volumes[]`."""

    secret: SecretVolume | None = None
    config_map: NamedReference | None = None
    projected: ProjectedVolume | None = None


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    """`spec.template.spec`."""

    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    volumes: tuple[Volume, ...] | None = None


class PodTemplateMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """`spec.template.metadata`."""

    annotations: dict[str, str] | None = None


class PodTemplate(msgspec.Struct, frozen=True, rename="camel"):
    """`spec.template`."""

    metadata: PodTemplateMetadata | None = None
    spec: PodSpec | None = None
