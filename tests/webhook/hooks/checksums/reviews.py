"""Reviews as the API server sends them, and its answers read back."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jsonpatch

from tests.webhook.hooks.checksums.manifests import Json
from webhook.admission.deadline import Deadline
from webhook.admission.hook import Hook


def review(
    new: Json | None, old: Json | None = None, *, namespace: str, kind: str = "Deployment", **more: Any
) -> bytes:
    """A review of a create, of an update if there is an old object, or of whatever `more` says."""
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
        status: Of a refusal.
        object: What the patch makes of the object.
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


async def ask(hook: Hook, new: Json, old: Json | None = None, *, seconds: float = 10.0, **more: Any) -> Answered:
    """Send a review and read the answer."""
    answer = await hook.answer(review(new, old, **more), Deadline.after(seconds, time.monotonic))
    return Answered(answer.body, new)
