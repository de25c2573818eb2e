"""The rights that are printed, without a cluster."""

from __future__ import annotations

import pytest

from webhook.commands.rbac import roles
from webhook.errors import ConfigurationError
from webhook.hooks.checksums.controller.scope import Access
from webhook.hooks.checksums.core.keys import Source, SourceKind
from webhook.hooks.checksums.rights import controller_rules, server_rules

DB = Source(SourceKind.SECRET, "db")
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
def test_nobody_ever_writes_what_is_confidential(access: Access) -> None:
    """Whatever is chosen, Secrets and ConfigMaps are only read."""
    sources = (DB,) if access is Access.NAMES else ()
    for rule in server_rules(access, sources) + controller_rules(access, sources):
        if {"secrets", "configmaps"} & set(rule["resources"]):
            assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_a_kind_without_names_gets_no_rule() -> None:
    """An empty list of names would mean all of them."""
    assert [rule["resources"] for rule in server_rules(Access.NAMES, (DB,))] == [["secrets"]]


def test_a_cluster_has_cluster_roles() -> None:
    """And namespaces have a Role each for both programs."""
    assert {item["kind"] for item in roles(Access.CLUSTER)} == {"ClusterRole", "ClusterRoleBinding"}
    made = roles(Access.NAMESPACES, namespaces=("a", "b"))
    assert [(item["kind"], item["metadata"].get("namespace")) for item in made] == [
        (kind, namespace) for namespace in "ab" for _ in range(2) for kind in ("Role", "RoleBinding")
    ]


@pytest.mark.parametrize(
    ("access", "namespaces", "sources"),
    [(Access.NAMES, (), ()), (Access.CLUSTER, ("a",), ()), (Access.NAMESPACES, (), (DB,))],
)
def test_what_contradicts_itself_is_refused(
    access: Access, namespaces: tuple[str, ...], sources: tuple[Source, ...]
) -> None:
    """Rather than to print rights that nobody asked for."""
    with pytest.raises(ConfigurationError):
        roles(access, namespaces=namespaces, sources=sources)
