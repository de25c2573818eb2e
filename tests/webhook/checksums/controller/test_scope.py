"""What the controller watches."""

from __future__ import annotations

import pytest

from webhook.checksums.controller.scope import Scope
from webhook.checksums.core.keys import Source, SourceKind
from webhook.checksums.core.kinds import STATEFUL_SET
from webhook.kube.listing import Selection
from webhook.kube.rbac import Access

DB = Source(SourceKind.SECRET, "db")
APP = Source(SourceKind.CONFIG_MAP, "app")


def test_with_access_by_name_there_is_one_watch_per_name() -> None:
    """So that a Role with `resourceNames` is enough; a kind without names has no watch."""
    scope = Scope(Access.NAMES, ("a", "b"), (DB,))
    assert scope.source_selections()[SourceKind.SECRET] == (
        Selection("/api/v1/namespaces/a/secrets", fields="metadata.name=db", metadata_only=True),
        Selection("/api/v1/namespaces/b/secrets", fields="metadata.name=db", metadata_only=True),
    )
    assert scope.source_selections()[SourceKind.CONFIG_MAP] == ()
    assert scope.watches == 2 + 2 * 3
    assert scope.covers("a", DB)
    assert not scope.covers("a", APP)
    assert not scope.covers("c", DB)


def test_with_access_by_namespace_everything_in_it_is_watched() -> None:
    """Whole workloads, and only the metadata of Secrets and ConfigMaps."""
    scope = Scope(Access.NAMESPACES, ("a",))
    assert scope.workload_selections()[STATEFUL_SET] == (Selection("/apis/apps/v1/namespaces/a/statefulsets"),)
    assert all(selection.metadata_only for selections in scope.source_selections().values() for selection in selections)
    assert scope.covers("a", APP)
    assert not scope.covers("b", APP)


def test_a_cluster_takes_five_watches() -> None:
    """For any size of the cluster."""
    scope = Scope(Access.CLUSTER)
    assert scope.watches == 5
    assert scope.covers("anywhere", DB)


@pytest.mark.parametrize(
    ("access", "namespaces"), [(Access.NAMES, ("a",)), (Access.NAMES, ()), (Access.NAMESPACES, ())]
)
def test_a_scope_without_anything_to_watch_is_rejected(access: Access, namespaces: tuple[str, ...]) -> None:
    """The controller would seem to work and do nothing."""
    with pytest.raises(ValueError, match="have to be given"):
        Scope(access, namespaces)
