"""What the API server is told of the webhooks: the webhook configurations, made from one description a webhook.

Source: https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/mutating-webhook-configuration-v1/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from webhook.admission.review import Operation

Json: TypeAlias = dict[str, Any]

#: The domain that our webhooks' names end in.
DOMAIN: Final = "rollonce.proompteng.ai"
#: The label that our own Deployments carry, by which they are left out: we must be able to start without ourselves.
OWN_LABEL: Final = "app.kubernetes.io/name"
OWN_NAME: Final = "rollonce"
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"


class WebhookType(Enum):
    """Which of the two configurations a webhook belongs to."""

    MUTATING = "MutatingWebhookConfiguration"
    VALIDATING = "ValidatingWebhookConfiguration"


class FailurePolicy(Enum):
    """What a call that fails means."""

    FAIL = "Fail"
    IGNORE = "Ignore"


class SideEffects(Enum):
    """Whether a call leaves something behind outside of the cluster's own store."""

    NONE = "None"
    NONE_ON_DRY_RUN = "NoneOnDryRun"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests are sent.

    Attributes:
        operations: What is done.
        group: The API group.
        versions: Its versions; objects of others are converted by the server before they are sent.
        resources: The resources, in plural.
    """

    operations: tuple[Operation, ...]
    group: str
    versions: tuple[str, ...]
    resources: tuple[str, ...]

    def to_json(self) -> Json:
        """Write it as `RuleWithOperations`."""
        return {
            "apiGroups": [self.group],
            "apiVersions": list(self.versions),
            "operations": [operation.value for operation in self.operations],
            "resources": list(self.resources),
            "scope": "Namespaced",
        }


@dataclass(frozen=True, slots=True)
class MatchCondition:
    """A CEL expression that has to be true for the webhook to be called at all.

    Attributes:
        name: For the server's messages and metrics.
        expression: The CEL.
    """

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Registration:
    """One webhook, as the API server is told of it.

    Attributes:
        name: Its first label; the domain is added.
        type: Mutating or validating.
        path: Where it is served.
        rules: Which requests are sent.
        failure_policy: What a failed call means.
        side_effects: What a call leaves behind.
        match_conditions: All have to be true.
        timeout_seconds: 1 to 30.
        reinvoke: Whether a mutating webhook is asked again after a later one changed the object.
        spares_system: Whether our own objects and those of the excluded namespaces are never sent, which is what keeps
            a cluster able to start.
        namespaces: The only ones whose objects are sent; empty for all.
    """

    name: str
    type: WebhookType
    path: str
    rules: tuple[Rule, ...]
    failure_policy: FailurePolicy
    side_effects: SideEffects
    match_conditions: tuple[MatchCondition, ...]
    timeout_seconds: int = 5
    reinvoke: bool = False
    spares_system: bool = False
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """Where the API server finds us: a Service in the cluster.

    Attributes:
        namespace: The Service's namespace.
        name: Its name.
        port: Its port.
    """

    namespace: str
    name: str
    port: int = 443

    def client_config(self, path: str) -> Json:
        """Write the `clientConfig` of a webhook."""
        service = {"namespace": self.namespace, "name": self.name, "port": self.port, "path": path}
        return {"service": service}


@dataclass(frozen=True, slots=True)
class UrlEndpoint:
    """Where the API server finds us when we do not run in the cluster.

    Attributes:
        url: `https://host:port`, without a path.
    """

    url: str

    def client_config(self, path: str) -> Json:
        """Write the `clientConfig` of a webhook."""
        return {"url": self.url.rstrip("/") + path}


@dataclass(frozen=True, slots=True)
class Deployment:
    """What an installation adds to the webhooks' own description.

    Attributes:
        endpoint: Where we are.
        ca_bundle: The base64 of the PEM bundle that our certificate chains to; empty where it is injected later.
        configuration_name: The name of both configurations.
        excluded_namespaces: Namespaces whose objects are not sent by a webhook that spares the system.
        annotations: Put on both configurations.
        labels: Put on both configurations.
    """

    endpoint: ServiceEndpoint | UrlEndpoint
    ca_bundle: str = ""
    configuration_name: str = "rollonce"
    excluded_namespaces: tuple[str, ...] = ("kube-system",)
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=lambda: {OWN_LABEL: OWN_NAME})


def configurations(registrations: Iterable[Registration], deployment: Deployment) -> list[Json]:
    """Write the webhook configurations.

    Args:
        registrations: The webhooks, in the order in which mutating ones are to be called.
        deployment: Where and how they are installed.

    Returns:
        A MutatingWebhookConfiguration and a ValidatingWebhookConfiguration, each only if it has a webhook.
    """
    by_type: dict[WebhookType, list[Json]] = {}
    for registration in registrations:
        by_type.setdefault(registration.type, []).append(_webhook(registration, deployment))
    return [_configuration(kind, by_type[kind], deployment) for kind in WebhookType if kind in by_type]


def _configuration(kind: WebhookType, webhooks: list[Json], deployment: Deployment) -> Json:
    metadata: Json = {"name": deployment.configuration_name, "labels": dict(deployment.labels)}
    if deployment.annotations:
        metadata["annotations"] = dict(deployment.annotations)
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind.value,
        "metadata": metadata,
        "webhooks": webhooks,
    }


def _webhook(registration: Registration, deployment: Deployment) -> Json:
    spares = registration.spares_system
    client_config = deployment.endpoint.client_config(registration.path)
    if deployment.ca_bundle:
        client_config["caBundle"] = deployment.ca_bundle
    webhook: Json = {
        "name": f"{registration.name}.{DOMAIN}",
        "admissionReviewVersions": ["v1"],
        "clientConfig": client_config,
        "failurePolicy": registration.failure_policy.value,
        "matchConditions": [{"name": c.name, "expression": c.expression} for c in registration.match_conditions],
        "matchPolicy": "Equivalent",
        "namespaceSelector": _selector(
            NAMESPACE_NAME_LABEL,
            others_than=deployment.excluded_namespaces if spares else (),
            only=registration.namespaces,
        ),
        "objectSelector": _selector(OWN_LABEL, others_than=(OWN_NAME,) if spares else ()),
        "rules": [rule.to_json() for rule in registration.rules],
        "sideEffects": registration.side_effects.value,
        "timeoutSeconds": registration.timeout_seconds,
    }
    if registration.type is WebhookType.MUTATING:
        webhook["reinvocationPolicy"] = "IfNeeded" if registration.reinvoke else "Never"
    return webhook


def _selector(label: str, *, others_than: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Json:
    chosen = {"NotIn": others_than, "In": only}
    terms = [{"key": label, "operator": how, "values": list(values)} for how, values in chosen.items() if values]
    return {"matchExpressions": terms} if terms else {}
