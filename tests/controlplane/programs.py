"""The programs of a control plane and their pinned sources.

The pins are the committed files `go.mod` and `go.sum` in `modules/`: three modules, because the dependencies of
Kubernetes, kwok and helm exclude each other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.errors import BuildError

MODULES = Path(__file__).parent / "modules"

_SMALL = "-s -w"
"""Omit symbol tables, which are two thirds of the size."""

_STAGES_FORMAT = "stages-1"


@dataclass(frozen=True, slots=True)
class Source:
    """One program and how to build it.

    Attributes:
        name: Name of the executable.
        module: Folder with the go.mod and go.sum that pin it.
        package: Go package of its main function.
        ldflags: Flags of Go's linker.
    """

    name: str
    module: Path
    package: str
    ldflags: str = _SMALL


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of the programs of a control plane.

    Attributes:
        kwok_stages: File of kwok's stages: the states of its pods and nodes.
    """

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kubectl: Path
    kwok: Path
    helm: Path
    kwok_stages: Path


def catalogue(modules: Path = MODULES) -> tuple[Source, ...]:
    """Return the seven programs, in the order in which they are built.

    Raises:
        BuildError: A go.mod is missing or pins no Kubernetes.
    """
    kubernetes = modules / "kubernetes"
    version = pinned_version(kubernetes, "k8s.io/kubernetes")
    major, minor = version.removeprefix("v").split(".")[:2]
    # A program that is built from a module instead of its repository needs its version as a flag, or reports v0.0.0.
    of_kubernetes = " ".join(
        (
            _SMALL,
            f"-X k8s.io/component-base/version.gitVersion={version}",
            f"-X k8s.io/component-base/version.gitMajor={major}",
            f"-X k8s.io/component-base/version.gitMinor={minor}",
        )
    )
    # Without these flags helm assumes Kubernetes v1.20 and rejects charts for newer versions.
    of_helm = " ".join(
        (
            _SMALL,
            *(
                f"-X helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={value}"
                for package in ("chartutil", "lint/rules")
                for part, value in (("Major", major), ("Minor", minor))
            ),
        )
    )
    return (
        Source("etcd", kubernetes, "go.etcd.io/etcd/server/v3"),
        *(
            Source(name, kubernetes, f"k8s.io/kubernetes/cmd/{name}", of_kubernetes)
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        ),
        Source("kwok", modules / "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
        Source("helm", modules / "helm", "helm.sh/helm/v3/cmd/helm", of_helm),
    )


def pinned_version(module: Path, dependency: str) -> str:
    """Return the version of a dependency that a go.mod requires, such as `v1.35.4`.

    Raises:
        BuildError: It requires none.
    """
    found = re.search(
        rf"^\s*(?:require )?{re.escape(dependency)} (v\S+)", _read(module / "go.mod").decode(), re.MULTILINE
    )
    if found is None:
        raise BuildError(f"{module / 'go.mod'} does not require {dependency}")
    return found[1]


def needed_go(sources: Iterable[Source]) -> tuple[int, ...]:
    """Return the lowest version of Go that can build all the sources, such as (1, 26, 0).

    Raises:
        BuildError: A go.mod names none.
    """
    return max(_go_line(source.module) for source in sources)


def fingerprint(sources: Iterable[Source], platform: str) -> str:
    """Return 16 hex digits that depend on all pins, flags and the platform: the key of the cache.

    Args:
        sources: The programs to build.
        platform: GOOS/GOARCH.

    Raises:
        BuildError: A go.mod or go.sum is missing.
    """
    digest = hashlib.sha256(f"{_STAGES_FORMAT}\0{platform}".encode())
    for source in sources:
        for part in (source.name.encode(), source.package.encode(), source.ldflags.encode()):
            digest.update(b"\0" + part)
        for file in ("go.mod", "go.sum"):
            digest.update(b"\0" + hashlib.sha256(_read(source.module / file)).digest())
    return digest.hexdigest()[:16]


def _go_line(module: Path) -> tuple[int, ...]:
    found = re.search(r"^go ([\d.]+)$", _read(module / "go.mod").decode(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{module / 'go.mod'} has no line that names its version of Go")
    return tuple(int(part) for part in found[1].split("."))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BuildError(f"{path} is missing; it belongs to the repository: restore it with git") from None
