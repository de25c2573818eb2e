"""Fixtures of the chart's tests: helm, and a release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest
import yaml

from tests.chart.generation import CHART
from tests.controlplane import ControlPlane

Object: TypeAlias = dict[str, Any]
#: Renders the chart as the release `rollonce` in the namespace `rollonce`; arguments are those of helm.
Render: TypeAlias = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def render(plane: ControlPlane) -> Render:
    """Return a function that renders the chart by the real helm."""

    def rendered(*arguments: str, release: str = "rollonce", namespace: str = "rollonce") -> list[Object]:
        done = plane.helm("template", release, CHART, "--namespace", namespace, *arguments)
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return rendered


def is_hook(manifest: Object) -> bool:
    """Return whether an object exists only during an uninstallation."""
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def find(manifests: Sequence[Object], kind: str, name: str, namespace: str = "") -> Object:
    """Return the one object of this kind and name."""
    (found,) = (
        manifest
        for manifest in manifests
        if (manifest["kind"], manifest["metadata"]["name"]) == (kind, name)
        and namespace in {"", manifest["metadata"].get("namespace")}
    )
    return found
