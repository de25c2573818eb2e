"""The objects that the tests write, and functions that list them."""

from __future__ import annotations

import json
from typing import Any

from tests.controlplane import ControlPlane

Object = dict[str, Any]
RUNS = "orchestrationruns.orchestration.proompteng.ai"
PREFIX = "rollout-checksums.proompteng.ai/"


def secret(name: str, **values: str) -> Object:
    """Return a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def config_map(name: str, **values: str) -> Object:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values}


def deployment(name: str = "web", *, kind: str = "Deployment", replicas: int = 1, **opt_in: str) -> Object:
    """Return a workload; `secrets="a, b"` and similar arguments become its opt-in annotations."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": {PREFIX + key: value for key, value in opt_in.items()}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }


def run(
    delivery_id: str | None,
    *,
    name: str = "",
    prefix: str = "",
    ref: str = "build",
    parameters: dict[str, str] | None = None,
) -> Object:
    """Return an OrchestrationRun with a name or a prefix of a generated name."""
    metadata = {"name": name} if name else {"generateName": prefix or "run-"}
    spec: Object = {"orchestrationRef": {"name": ref}}
    if delivery_id is not None:
        spec["deliveryId"] = delivery_id
    if parameters is not None:
        spec["parameters"] = parameters
    return {
        "apiVersion": "orchestration.proompteng.ai/v1alpha1",
        "kind": "OrchestrationRun",
        "metadata": metadata,
        "spec": spec,
    }


def template_annotations(plane: ControlPlane, namespace: str, name: str = "web") -> dict[str, str]:
    """Return the annotations of a Deployment's pod template."""
    metadata = plane.get("deployment", name, namespace)["spec"]["template"]["metadata"]
    annotations: dict[str, str] = metadata.get("annotations", {})
    return annotations


def runs(plane: ControlPlane, namespace: str, selector: str = "") -> list[Object]:
    """Return the runs of a namespace."""
    arguments = ("--selector", selector) if selector else ()
    listed = json.loads(plane.kubectl("get", RUNS, "-n", namespace, *arguments, "-o", "json").stdout)
    items: list[Object] = listed["items"]
    return items


def replica_sets(plane: ControlPlane, namespace: str) -> list[Object]:
    """Return the ReplicaSets of a namespace."""
    items: list[Object] = json.loads(plane.kubectl("get", "replicasets", "-n", namespace, "-o", "json").stdout)["items"]
    return items
