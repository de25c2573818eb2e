"""Values of the chart, each with what it leads to. Together they set every value that there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tests.chart.dashboard import dashboard

CA_BUNDLE: Final = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"
_POD: Final = "spec.template.spec"
_CONTAINER: Final = f"{_POD}.containers.0"


@dataclass(frozen=True, slots=True)
class Case:
    """A set of values.

    Attributes:
        values: The values.
        expected: What is rendered: `Kind/name:path` or `Kind/name:settings.path` of the settings file, with the value.
        present: Objects that are rendered, as `Kind/name`, or as `Kind/namespace/name`.
        absent: Objects that are not.
    """

    values: dict[str, Any]
    expected: dict[str, Any]
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def both(path: str, value: object) -> dict[str, Any]:
    """Return the expectation that both programs have a value."""
    return {f"Deployment/{name}:{path}": value for name in ("rollonce", "rollonce-controller")}


CASES: Final = {
    "image": Case(
        {
            "image": {"repository": "mirror/rollonce", "tag": "edge", "pullPolicy": "Always"},
            "imagePullSecrets": [{"name": "pull"}],
            "valkey": {
                "image": {"repository": "mirror/valkey", "tag": "9"},
                "resources": {"limits": {"memory": "1Gi"}},
                "storage": {"size": "3Gi", "className": "fast", "whenDeleted": "Retain"},
                "passwordSecret": {"name": "valkey", "key": "pw"},
            },
        },
        {
            **both(f"{_CONTAINER}.image", "mirror/rollonce:edge"),
            **both(f"{_CONTAINER}.imagePullPolicy", "Always"),
            **both(f"{_POD}.imagePullSecrets", [{"name": "pull"}]),
            **both(f"{_CONTAINER}.env.0.valueFrom.secretKeyRef", {"name": "valkey", "key": "pw"}),
            **both(f"{_CONTAINER}.env.1.value", "redis://:$(VALKEY_PASSWORD)@rollonce-valkey:6379/0"),
            f"Job/rollonce-uninstall:{_CONTAINER}.image": "mirror/rollonce:edge",
            f"Job/rollonce-test:{_CONTAINER}.image": "mirror/rollonce:edge",
            f"StatefulSet/rollonce-valkey:{_CONTAINER}.image": "mirror/valkey:9",
            f"StatefulSet/rollonce-valkey:{_CONTAINER}.command.3": "$(VALKEY_PASSWORD)",
            f"StatefulSet/rollonce-valkey:{_CONTAINER}.resources.limits.memory": "1Gi",
            f"StatefulSet/rollonce-valkey:{_POD}.imagePullSecrets": [{"name": "pull"}],
            "StatefulSet/rollonce-valkey:spec.volumeClaimTemplates.0.spec.storageClassName": "fast",
            "StatefulSet/rollonce-valkey:spec.volumeClaimTemplates.0.spec.resources.requests.storage": "3Gi",
            "StatefulSet/rollonce-valkey:spec.persistentVolumeClaimRetentionPolicy.whenDeleted": "Retain",
        },
    ),
    "names and labels": Case(
        {
            "fullnameOverride": "delivery",
            "commonLabels": {"team": "a"},
            "commonAnnotations": {"owner": "b"},
            "podLabels": {"mesh": "no"},
            "podAnnotations": {"scrape": "no"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "infra", "operator": "Exists"}],
            "priorityClassName": "",
            "flowSchema": {"enabled": False},
        },
        {
            "Deployment/delivery:metadata.labels.team": "a",
            "Deployment/delivery:metadata.annotations.owner": "b",
            "MutatingWebhookConfiguration/delivery:metadata.annotations.owner": "b",
            "MutatingWebhookConfiguration/delivery:metadata.labels.team": "a",
            "MutatingWebhookConfiguration/delivery:webhooks.0.clientConfig.service.name": "delivery",
            "Deployment/delivery:spec.template.metadata.labels.mesh": "no",
            "Deployment/delivery:spec.template.metadata.annotations.scrape": "no",
            f"Deployment/delivery:{_POD}.nodeSelector": {"disk": "ssd"},
            f"Deployment/delivery:{_POD}.tolerations.0.key": "infra",
            f"Deployment/delivery:{_POD}.priorityClassName": "",
            f"StatefulSet/delivery-valkey:{_POD}.nodeSelector": {"disk": "ssd"},
            "ConfigMap/delivery:settings.webhooks.names": ["delivery"],
            "ConfigMap/delivery:settings.tls.caSecret": "delivery-ca",
            "ConfigMap/delivery:settings.dedupe.state": "delivery-state",
        },
        ("Lease/delivery-controller", "Secret/delivery-ca", "ConfigMap/delivery-state"),
        ("FlowSchema/delivery", "PriorityLevelConfiguration/delivery", "Deployment/rollonce"),
    ),
    "the operator's list": Case(
        {
            "rolloutChecksums": {
                "enabled": True,
                "namespaces": ["shop"],
                "secrets": ["database", {"name": "token", "checksum": "0" * 64}],
                "configMaps": ["site"],
                "missing": "hold",
            },
            "settings": {"log": {"level": "debug"}},
        },
        {
            "ConfigMap/rollonce:settings.rolloutChecksums.secrets.1.name": "token",
            "ConfigMap/rollonce:settings.rolloutChecksums.configMaps": ["site"],
            "ConfigMap/rollonce:settings.rolloutChecksums.namespaces": ["shop"],
            "ConfigMap/rollonce:settings.rolloutChecksums.watchNamespaces": ["shop"],
            "ConfigMap/rollonce:settings.rolloutChecksums.missing": "hold",
            f"Job/rollonce-test:{_CONTAINER}.args.1": "--workloads=shop",
            "ConfigMap/rollonce:settings.log.level": "debug",
        },
        ("Role/shop/rollonce-access", "Role/rollonce/rollonce-access"),
    ),
    "named objects": Case(
        {
            "rolloutChecksums": {
                "watchNamespaces": ["shop"],
                "watchSecrets": ["database"],
                "watchConfigMaps": ["site"],
            },
            "dedupe": {
                "retentionDays": 0.5,
                "namespaces": ["bank"],
                "onRedisDown": "deny",
                "onUnproved": "deny",
                "strict": True,
            },
        },
        {
            "ConfigMap/rollonce:settings.rolloutChecksums.access": "names",
            "ConfigMap/rollonce:settings.rolloutChecksums.watchSecrets": ["database"],
            "ConfigMap/rollonce:settings.rolloutChecksums.watchConfigMaps": ["site"],
            "ConfigMap/rollonce:settings.dedupe.retentionDays": 0.5,
            "ConfigMap/rollonce:settings.dedupe.onRedisDown": "deny",
            "ConfigMap/rollonce:settings.dedupe.onUnproved": "deny",
            "ConfigMap/rollonce:settings.dedupe.strict": True,
            "Role/shop/rollonce-access:rules.0.resourceNames": ["database"],
            f"Job/rollonce-test:{_CONTAINER}.args": ["--name=rollonce-test", "--workloads=", "--runs=bank"],
            # Where there are only runs, no Secret may be read.
            "Role/bank/rollonce-access:rules.0.resources": ["orchestrationruns"],
        },
        (),
        ("ClusterRole/rollonce-access", "Role/rollonce/rollonce-access"),
    ),
    "all namespaces": Case(
        {
            "rbac": {"clusterScoped": True},
            "controllers": {"env": {"vars": {"JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS": 30}}},
            "redis": {"url": "redis+sentinel://sentinel:26379/main"},
            "extraEnv": [{"name": "ROLLONCE_LOG_LEVEL", "value": "debug"}],
            "extraVolumes": [{"name": "ca", "secret": {"secretName": "redis-ca"}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/redis", "readOnly": True}],
            "controller": {"replicas": 3, "resources": {"limits": {"memory": "1Gi"}}},
            "serve": {"replicas": 5, "resources": {"limits": {"memory": "2Gi"}}},
        },
        {
            "ConfigMap/rollonce:settings.rolloutChecksums.access": "cluster",
            "ConfigMap/rollonce:settings.redis.url": "redis+sentinel://sentinel:26379/main",
            **both(f"{_CONTAINER}.env.0", {"name": "JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS", "value": "30"}),
            **both(f"{_CONTAINER}.env.1.name", "ROLLONCE_LOG_LEVEL"),
            **both(f"{_POD}.volumes.1.name", "ca"),
            **both(f"{_CONTAINER}.volumeMounts.1.mountPath", "/etc/redis"),
            "Deployment/rollonce:spec.replicas": 5,
            f"Deployment/rollonce:{_CONTAINER}.resources.limits.memory": "2Gi",
            "Deployment/rollonce-controller:spec.replicas": 3,
            f"Deployment/rollonce-controller:{_CONTAINER}.resources.limits.memory": "1Gi",
        },
        ("ClusterRole/rollonce-access", "ClusterRole/rollonce-controller-access"),
        ("StatefulSet/rollonce-valkey", "Role/rollonce/rollonce-access", "Service/rollonce-valkey"),
    ),
    "redis by a secret, cert-manager": Case(
        {
            "redis": {"existingSecret": {"name": "redis", "key": "uri"}},
            "certs": {"mode": "cert-manager", "secretName": "serving", "issuerRef": {"name": "ours", "kind": "Issuer"}},
        },
        {
            **both(f"{_CONTAINER}.env.0.valueFrom.secretKeyRef", {"name": "redis", "key": "uri"}),
            "ConfigMap/rollonce:settings.tls": {"mode": "secret", "secret": "serving"},
            "Certificate/rollonce:spec.issuerRef.name": "ours",
            "Certificate/rollonce:spec.secretName": "serving",
            "ValidatingWebhookConfiguration/rollonce:metadata.annotations": {
                "cert-manager.io/inject-ca-from": "rollonce/rollonce"
            },
            "Role/rollonce-certificates:rules.0.resourceNames": ["serving"],
        },
        (),
        ("Issuer/rollonce", "Secret/rollonce-ca", "StatefulSet/rollonce-valkey"),
    ),
    "a certificate of one's own": Case(
        {"certs": {"mode": "secret", "caBundle": CA_BUNDLE}},
        {
            "MutatingWebhookConfiguration/rollonce:webhooks.0.clientConfig.caBundle": CA_BUNDLE,
            "ConfigMap/rollonce:settings.tls.secret": "rollonce-tls",
            "ClusterRole/rollonce-controller:rules.0.verbs": ["get"],
        },
        (),
        ("Certificate/rollonce", "Secret/rollonce-ca"),
    ),
    "an issuer of its own": Case({"certs": {"mode": "cert-manager"}}, {}, ("Issuer/rollonce", "Certificate/rollonce")),
    "operation": Case(
        {
            "serve": {
                "autoscaling": {
                    "enabled": True,
                    "minReplicas": 3,
                    "maxReplicas": 9,
                    "targetCPUUtilizationPercentage": 70,
                }
            },
            "networkPolicy": {
                "enabled": True,
                "apiServerCIDRs": ["10.0.0.1/32", "fd00::1/128"],
                "metricsFrom": [{"namespaceSelector": {"matchLabels": {"prometheus": "yes"}}}],
            },
            "metrics": {
                "labels": {"release": "prometheus"},
                "podMonitor": {"enabled": True},
                "serviceMonitor": {"enabled": True},
                "dashboard": {"enabled": True, "labels": {"grafana_dashboard": "yes"}},
                "prometheusRule": {"enabled": True, "runbookUrl": "https://wiki.example.com/runbook"},
            },
        },
        {
            "HorizontalPodAutoscaler/rollonce:spec.minReplicas": 3,
            "HorizontalPodAutoscaler/rollonce:spec.maxReplicas": 9,
            "HorizontalPodAutoscaler/rollonce:spec.metrics.0.resource.target.averageUtilization": 70,
            "NetworkPolicy/rollonce:spec.ingress.0.from.1.ipBlock.cidr": "fd00::1/128",
            "NetworkPolicy/rollonce:spec.ingress.1.from.0.namespaceSelector.matchLabels": {"prometheus": "yes"},
            "PodMonitor/rollonce:metadata.labels.release": "prometheus",
            "ServiceMonitor/rollonce:metadata.labels.release": "prometheus",
            "PrometheusRule/rollonce:metadata.labels.release": "prometheus",
            "ConfigMap/rollonce-dashboard:metadata.labels.grafana_dashboard": "yes",
            "ConfigMap/rollonce-dashboard:data": {"rollonce.json": dashboard()},
            "PrometheusRule/rollonce:spec.groups.0.name": "rollonce-certificates",
            "PrometheusRule/rollonce:spec.groups.1.rules.0.annotations.runbook_url": (
                "https://wiki.example.com/runbook#rollonceredisdown"
            ),
        },
        ("Service/rollonce-metrics",),
    ),
    "without cluster-scoped objects": Case(
        {"clusterObjects": "omit"},
        {},
        ("Deployment/rollonce",),
        (
            *(f"{kind}WebhookConfiguration/rollonce" for kind in ("Mutating", "Validating")),
            *("ClusterRole/rollonce-controller", "FlowSchema/rollonce", "Job/rollonce-uninstall"),
        ),
    ),
    "only cluster-scoped objects": Case(
        {"clusterObjects": "only"},
        {},
        ("MutatingWebhookConfiguration/rollonce", "ClusterRole/rollonce-controller", "FlowSchema/rollonce"),
        ("Deployment/rollonce", "ServiceAccount/rollonce", "Job/rollonce-uninstall", "Job/rollonce-test"),
    ),
}
