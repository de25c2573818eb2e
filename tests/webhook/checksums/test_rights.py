"""The RBAC rules, without a cluster."""

from __future__ import annotations

import pytest

from tests.webhook.checksums.manifests import CRON_JOB
from webhook.app import Application
from webhook.checksums.core.kinds import KINDS
from webhook.checksums.feature import CHECKSUMS, checksums_feature
from webhook.commands.rbac import roles
from webhook.errors import ConfigurationError
from webhook.kube.rbac import Access, AccessOptions

DB = {"secrets": ("db",)}
APPLICATION = Application((CHECKSUMS,))
#: What the controller may do in its own namespace, as far as these tests need it.
LEASES = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: leases}
rules:
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: leases}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: leases}
subjects:
  - {kind: ServiceAccount, name: rollonce-controller, namespace: NAMESPACE}
"""


@pytest.mark.parametrize("access", Access)
def test_secrets_and_config_maps_are_never_written(access: Access) -> None:
    """With any access, Secrets and ConfigMaps are only read."""
    rules = CHECKSUMS.rules(AccessOptions(access, DB if access is Access.NAMES else {}))
    for rule in rules.server + rules.controller:
        if {"secrets", "configmaps"} & set(rule["resources"]):
            assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_a_resource_without_names_gets_no_rule() -> None:
    """An empty list of names would allow all of them."""
    rules = CHECKSUMS.rules(AccessOptions(Access.NAMES, DB))
    assert [rule["resources"] for rule in rules.server] == [["secrets"]]


def test_each_api_group_has_a_rule() -> None:
    """A kind of another group gets a rule of its own."""
    rules = checksums_feature((*KINDS, CRON_JOB)).rules(AccessOptions(Access.NAMESPACES))
    verbs = ["get", "list", "watch", "patch"]
    assert rules.controller[1:3] == (
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": verbs},
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": verbs},
    )


def test_access_to_the_cluster_gives_cluster_roles() -> None:
    """Access to namespaces gives a Role per namespace for both programs."""
    cluster = roles(APPLICATION, AccessOptions(Access.CLUSTER))
    assert {item["kind"] for item in cluster} == {"ClusterRole", "ClusterRoleBinding"}
    made = roles(APPLICATION, AccessOptions(Access.NAMESPACES), namespaces=("a", "b"))
    assert [(item["kind"], item["metadata"].get("namespace")) for item in made] == [
        (kind, namespace) for namespace in "ab" for _ in range(2) for kind in ("Role", "RoleBinding")
    ]


@pytest.mark.parametrize(
    ("access", "namespaces", "names"),
    [(Access.NAMES, (), {}), (Access.CLUSTER, ("a",), {}), (Access.NAMESPACES, (), DB)],
)
def test_contradicting_arguments_are_rejected(
    access: Access, namespaces: tuple[str, ...], names: dict[str, tuple[str, ...]]
) -> None:
    """So that no rules are printed that were not asked for."""
    with pytest.raises(ConfigurationError):
        roles(APPLICATION, AccessOptions(access, names), namespaces=namespaces)
