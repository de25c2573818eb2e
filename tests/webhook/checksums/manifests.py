"""Short ways to write workloads in tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import jsonpatch
import msgspec

from webhook.admission import patch as json_patch
from webhook.admission.patch import PatchOperation
from webhook.checksums.core.keys import Source, SourceKind
from webhook.checksums.core.kinds import DEPLOYMENT, WorkloadKind
from webhook.checksums.core.workload import Workload

Json = dict[str, Any]

A = "a" * 64
B = "b" * 64
#: A kind that is not served by default: one more row.
CRON_JOB = WorkloadKind(
    "batch", "CronJob", "v1", "cronjobs", ("cj",), template_path=("spec", "jobTemplate", "spec", "template")
)


def secret(name: str) -> Source:
    """Return a Secret."""
    return Source(SourceKind.SECRET, name)


def config_map(name: str) -> Source:
    """Return a ConfigMap."""
    return Source(SourceKind.CONFIG_MAP, name)


def manifest(
    *,
    annotations: Mapping[str, str] | None = None,
    template_annotations: Mapping[str, str] | None = None,
    pod_spec: Json | None = None,
    paused: bool | None = None,
    **metadata: Any,
) -> Json:
    """Return a Deployment's JSON."""
    spec: Json = {
        "replicas": 1,
        "template": {
            "metadata": {"labels": {"app": "shop"}, "annotations": _copied(template_annotations)},
            "spec": pod_spec or {"containers": [{"name": "shop", "image": "shop:1"}]},
        },
    }
    if paused is not None:
        spec["paused"] = paused
    return {"metadata": {"name": "shop", "annotations": _copied(annotations), **metadata}, "spec": spec}


def workload(tree: Json, kind: WorkloadKind = DEPLOYMENT) -> Workload:
    """Return a manifest as a workload, decoded as the webhook decodes it."""
    return Workload.of(kind, msgspec.json.decode(msgspec.json.encode(tree), type=kind.object_type))


def applied(tree: Json, operations: tuple[PatchOperation, ...]) -> Json:
    """Apply operations as the API server does, by an independent implementation of JSON Patch."""
    patched: Json = jsonpatch.apply_patch(copy.deepcopy(tree), json_patch.encode(operations).decode())
    return patched


def _copied(annotations: Mapping[str, str] | None) -> Json | None:
    return None if annotations is None else dict(annotations)
