"""The ConfigMap that outlives the servers, as the manifests ship it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from tests.controlplane import ControlPlane

MANIFEST: Final = Path(__file__).resolve().parent.parent / "deploy" / "manifests" / "state.yaml"
NAME: Final = "rollonce-state"
_RUNS: Final = "orchestrationruns.orchestration.proompteng.ai"


def shipped(namespace: str) -> dict[str, Any]:
    """Return the manifest for a namespace."""
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    manifest["metadata"]["namespace"] = namespace
    return manifest


def install(plane: ControlPlane, namespace: str) -> None:
    """Begin a new installation: create its namespace and the ConfigMap, without anything that another one has left.

    With runs or a ledger of another test, the store that is new would be one that has lost all its records.
    """
    plane.kubectl("delete", _RUNS, "--all", "--all-namespaces", "--timeout=30s")
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    plane.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(home))
    plane.kubectl("delete", "configmap", NAME, "-n", namespace, "--ignore-not-found")
    plane.kubectl("apply", "-f", "-", input=json.dumps(shipped(namespace)))


def entry(plane: ControlPlane, namespace: str = "rollonce") -> dict[str, Any]:
    """Return the decoded ledger; empty if there is none."""
    found: dict[str, Any] = json.loads(plane.get("configmap", NAME, namespace).get("data", {}).get("state", "{}"))
    return found
