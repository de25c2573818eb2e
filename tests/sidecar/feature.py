"""Add a sidecar container to Pods that ask for one by a label, and an owner label to Namespaces."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from webhook.admission.patch import diff
from webhook.admission.registration import (
    FailurePolicy,
    MatchCondition,
    Registration,
    RegistrationOptions,
    Rule,
    Scope,
    SideEffects,
    WebhookType,
)
from webhook.admission.response import Decision, patched
from webhook.admission.review import AdmissionRequest, Operation
from webhook.admission.webhook import Webhook
from webhook.feature import Feature, Process
from webhook.runtime import parsers
from webhook.runtime.deadline import Deadline
from webhook.runtime.settings import Setting

IMAGE = Setting("sidecar.image", parsers.text_value, "proxy:1", "Image of the sidecar container.")
LABEL: Final = "sidecar.example.com/inject"
OWNER: Final = "sidecar.example.com/owner"


class Metadata(msgspec.Struct, frozen=True):
    """`metadata`."""

    labels: dict[str, str] | None = None


class PodSpec(msgspec.Struct, frozen=True):
    """`spec`."""

    containers: list[dict[str, Any]] = []


class Pod(msgspec.Struct, frozen=True):
    """The fields of a Pod that the injector reads."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class Namespace(msgspec.Struct, frozen=True):
    """The fields of a Namespace that are read."""

    metadata: Metadata = Metadata()


class SidecarHandlers:
    """The handlers of the feature's webhooks.

    Args:
        image: Image of the sidecar container.
    """

    def __init__(self, image: str) -> None:
        self._image = image

    async def inject(self, request: AdmissionRequest[Pod], _: Deadline) -> Decision:
        """Append the sidecar, unless the Pod has it."""
        containers = request.object.spec.containers if request.object else []
        sidecar = {
            "name": "proxy",
            "image": self._image,
            "env": [{"name": "NAMESPACE", "value": request.namespace}],
            "resources": {"requests": {"cpu": "10m"}},
        }
        with_sidecar = containers if any(one["name"] == "proxy" for one in containers) else [*containers, sidecar]
        return patched(diff({"spec": {"containers": containers}}, {"spec": {"containers": with_sidecar}}))

    async def own(self, request: AdmissionRequest[Namespace], _: Deadline) -> Decision:
        """Label a Namespace with the user who creates it."""
        labels = (request.object.metadata.labels if request.object else None) or {}
        owner = request.user_info.username.replace(":", "_")
        return patched(
            diff({"metadata": {"labels": labels}}, {"metadata": {"labels": {**labels, OWNER: owner}}}),
            warnings=(f"This Namespace belongs to {owner}.",),
        )


def _webhooks(_: RegistrationOptions) -> tuple[Webhook[SidecarHandlers, Any], ...]:
    pods = Registration(
        name="inject-sidecar",
        type=WebhookType.MUTATING,
        path="/mutate/pods",
        rules=(Rule((Operation.CREATE,), "", ("v1",), ("pods",)),),
        failure_policy=FailurePolicy.FAIL,
        side_effects=SideEffects.NONE,
        match_conditions=(MatchCondition("wants-a-sidecar", f"'{LABEL}' in object.metadata.?labels.orValue({{}})"),),
        excludes_system=True,
    )
    namespaces = Registration(
        name="own-namespace",
        type=WebhookType.MUTATING,
        path="/mutate/namespaces",
        rules=(Rule((Operation.CREATE,), "", ("v1",), ("namespaces",), Scope.CLUSTER),),
        failure_policy=FailurePolicy.IGNORE,
        side_effects=SideEffects.NONE,
        match_conditions=(),
    )
    return (
        Webhook(pods, Pod, SidecarHandlers.inject),
        Webhook(namespaces, Namespace, SidecarHandlers.own),
    )


async def _start_server(process: Process) -> SidecarHandlers:
    return SidecarHandlers(process.settings[IMAGE])


SIDECAR: Final = Feature(name="sidecar", server_settings=(IMAGE,), webhooks=_webhooks, start_server=_start_server)
