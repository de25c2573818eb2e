"""Nodes simulated by kwok: pods bound to them become Ready, and no container runs."""

from __future__ import annotations

from typing import Any

_CAPACITY = {"cpu": "256", "memory": "1Ti", "pods": "10000"}


def fake_node(number: int) -> dict[str, Any]:
    """Return the manifest of the node `node-<number>`."""
    name = f"node-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"},
        },
        "status": {"allocatable": _CAPACITY, "capacity": _CAPACITY},
    }
