"""The webhook configurations that the API server reads, rendered from one `Registration` per webhook.

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
#: The label of rollonce's own Deployments. They are excluded, because rollonce must be able to start without itself.
OWN_LABEL: Final = "app.kubernetes.io/name"
OWN_NAME: Final = "rollonce"
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"


class WebhookType(Enum):
    """Which of the two configurations a webhook belongs to."""

    MUTATING = "MutatingWebhookConfiguration"
    VALIDATING = "ValidatingWebhookConfiguration"


class FailurePolicy(Enum):
    """What the API server does when a call fails."""

    FAIL = "Fail"
    IGNORE = "Ignore"


class SideEffects(Enum):
    """Whether a call changes anything besides the object under review."""

    NONE = "None"
    NONE_ON_DRY_RUN = "NoneOnDryRun"


class Scope(Enum):
    """Which objects a rule covers."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"
    ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests are sent to a webhook.

    Attributes:
        operations: CREATE, UPDATE, DELETE or CONNECT.
        group: The API group.
        versions: The group's versions; objects of other versions are converted by the API server.
        resources: Plural names of the resources.
        scope: Whether namespaced or cluster-scoped objects are sent, or both.
    """

    operations: tuple[Operation, ...]
    group: str
    versions: tuple[str, ...]
    resources: tuple[str, ...]
    scope: Scope = Scope.NAMESPACED

    def to_json(self) -> Json:
        """Return the rule as `RuleWithOperations`."""
        return {
            "apiGroups": [self.group],
            "apiVersions": list(self.versions),
            "operations": [operation.value for operation in self.operations],
            "resources": list(self.resources),
            "scope": self.scope.value,
        }


@dataclass(frozen=True, slots=True)
class MatchCondition:
    """A CEL expression that must be true for the webhook to be called.

    Attributes:
        name: Shown in the API server's messages and metrics.
        expression: The CEL expression.
    """

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Registration:
    """One entry of a webhook configuration.

    Attributes:
        name: The first label of the entry's name; the domain is added.
        type: Mutating or validating.
        path: The URL path that is called.
        rules: Which requests are sent.
        failure_policy: What a failed call means.
        side_effects: What a call changes.
        match_conditions: All of them must be true.
        timeout_seconds: 1 to 30.
        reinvoke: Whether a mutating webhook is called again after a later one changed the object.
        excludes_system: Whether rollonce's own objects and those of the excluded namespaces are never sent, so that a
            cluster can start without rollonce.
        namespaces: The namespaces whose objects are sent; empty for all.
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
    excludes_system: bool = False
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistrationOptions:
    """What decides which requests are sent, besides the webhooks themselves.

    Attributes:
        controller_user: User name of the controller's ServiceAccount, whose own writes are not sent to the webhook for
            workloads; empty sends them too.
        policy_namespaces: The namespaces of the operator's policy, where every workload is sent.
    """

    controller_user: str = ""
    policy_namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """Where the API server calls rollonce: a Service in the cluster.

    Attributes:
        namespace: The Service's namespace.
        name: Its name.
        port: Its port.
    """

    namespace: str
    name: str
    port: int = 443

    def client_config(self, path: str) -> Json:
        """Return the `clientConfig` of an entry."""
        service = {"namespace": self.namespace, "name": self.name, "port": self.port, "path": path}
        return {"service": service}


@dataclass(frozen=True, slots=True)
class UrlEndpoint:
    """Where the API server calls rollonce when it runs outside of the cluster.

    Attributes:
        url: `https://host:port`, without a path.
    """

    url: str

    def client_config(self, path: str) -> Json:
        """Return the `clientConfig` of an entry."""
        return {"url": self.url.rstrip("/") + path}


@dataclass(frozen=True, slots=True)
class Installation:
    """What the webhook configurations depend on besides the webhooks themselves.

    Attributes:
        endpoint: Where the API server calls rollonce.
        ca_bundle: The base64 of the PEM bundle that the server's certificate chains to; empty where it is injected.
        configuration_name: The name of both configurations.
        excluded_namespaces: Namespaces whose objects are not sent to a webhook that excludes the system.
        annotations: Set on both configurations.
        labels: Set on both configurations.
    """

    endpoint: ServiceEndpoint | UrlEndpoint
    ca_bundle: str = ""
    configuration_name: str = "rollonce"
    excluded_namespaces: tuple[str, ...] = ("kube-system",)
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=lambda: {OWN_LABEL: OWN_NAME})


def configurations(registrations: Iterable[Registration], installation: Installation) -> list[Json]:
    """Render the webhook configurations.

    Args:
        registrations: The webhooks; mutating ones are called in this order.
        installation: Where and how they are installed.

    Returns:
        A MutatingWebhookConfiguration and a ValidatingWebhookConfiguration, each only if it has an entry.
    """
    by_type: dict[WebhookType, list[Json]] = {}
    for registration in registrations:
        by_type.setdefault(registration.type, []).append(_webhook(registration, installation))
    return [_configuration(kind, by_type[kind], installation) for kind in WebhookType if kind in by_type]


def _configuration(kind: WebhookType, webhooks: list[Json], installation: Installation) -> Json:
    metadata: Json = {"name": installation.configuration_name, "labels": dict(installation.labels)}
    if installation.annotations:
        metadata["annotations"] = dict(installation.annotations)
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind.value,
        "metadata": metadata,
        "webhooks": webhooks,
    }


def _webhook(registration: Registration, installation: Installation) -> Json:
    excludes = registration.excludes_system
    client_config = installation.endpoint.client_config(registration.path)
    if installation.ca_bundle:
        client_config["caBundle"] = installation.ca_bundle
    webhook: Json = {
        "name": f"{registration.name}.{DOMAIN}",
        "admissionReviewVersions": ["v1"],
        "clientConfig": client_config,
        "failurePolicy": registration.failure_policy.value,
        "matchConditions": [{"name": c.name, "expression": c.expression} for c in registration.match_conditions],
        "matchPolicy": "Equivalent",
        "namespaceSelector": _selector(
            NAMESPACE_NAME_LABEL,
            others_than=installation.excluded_namespaces if excludes else (),
            only=registration.namespaces,
        ),
        "objectSelector": _selector(OWN_LABEL, others_than=(OWN_NAME,) if excludes else ()),
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
