"""Webhooks, reviews as the API server sends them, and parsed answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import jsonpatch
import structlog
from prometheus_client import CollectorRegistry

from tests.webhook.checksums.manifests import Json
from webhook.admission.registration import RegistrationOptions
from webhook.admission.webhook import Endpoint
from webhook.checksums.core.kinds import KINDS, WorkloadKind
from webhook.checksums.feature import checksums_feature
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.mutator import new_mutator
from webhook.checksums.settings import ChecksumSettings
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock

CurrentSettings = Callable[[], ChecksumSettings]


def deployments(
    api: KubernetesApi,
    settings: ChecksumSettings | CurrentSettings | None = None,
    registry: CollectorRegistry | None = None,
) -> Endpoint:
    """Return the webhook for Deployments."""
    return checksum_endpoints(api, settings, registry=registry)[0]


def checksum_endpoints(
    api: KubernetesApi,
    settings: ChecksumSettings | CurrentSettings | None = None,
    *,
    registry: CollectorRegistry | None = None,
    kinds: tuple[WorkloadKind, ...] = KINDS,
) -> tuple[Endpoint, ...]:
    """Return the webhooks of all kinds, put together as the server does it."""
    fixed = settings or ChecksumSettings()
    mutator = new_mutator(
        (lambda: fixed) if isinstance(fixed, ChecksumSettings) else fixed,
        api,
        clock=Clock(),
        log=structlog.get_logger(),
        metrics=ChecksumMetrics(registry or CollectorRegistry()),
        kinds=kinds,
    )
    return tuple(webhook.bind(mutator) for webhook in checksums_feature(kinds).webhooks(RegistrationOptions()))


def review(
    new: Json | None, old: Json | None = None, *, namespace: str, kind: str = "Deployment", **more: Any
) -> bytes:
    """Return a review of a create, of an update if there is an old object, or of what `more` says."""
    request = {
        "uid": "0df28fbd-5f5f-11e8-bc74-36e6bb280816",
        "kind": {"group": "apps", "version": "v1", "kind": kind},
        "operation": "UPDATE" if old else "CREATE",
        "namespace": namespace,
        "name": "shop",
        "object": new,
        "oldObject": old,
        **more,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


class Answered:
    """The answer to a review.

    Attributes:
        allowed: Whether the request goes on.
        warnings: For the client.
        status: The status of a denial.
        object: The object after the patch.
        patched: Whether there was a patch.
    """

    def __init__(self, body: bytes, tree: Json) -> None:
        response = json.loads(body)["response"]
        self.allowed: bool = response["allowed"]
        self.warnings: list[str] = response.get("warnings", [])
        self.status: Json | None = response.get("status")
        self.patched = "patch" in response
        patch = base64.b64decode(response["patch"]).decode() if self.patched else "[]"
        self.object: Json = jsonpatch.apply_patch(tree, patch)

    @property
    def checksums(self) -> dict[str, str]:
        """The annotations of the pod template."""
        return dict(self.object["spec"]["template"]["metadata"]["annotations"] or {})


async def ask(
    endpoint: Endpoint, new: Json, old: Json | None = None, *, seconds: float = 10.0, **more: Any
) -> Answered:
    """Send a review and parse the answer."""
    answer = await endpoint.answer(review(new, old, **more), Clock().deadline(seconds))
    return Answered(answer.body, new)
