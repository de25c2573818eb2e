"""What is watched."""

from __future__ import annotations

import pytest

from webhook.controller.listing import Selection
from webhook.hooks.checksums.controller.scope import Access, Scope
from webhook.hooks.checksums.core.keys import Source, SourceKind

DB = Source(SourceKind.SECRET, "db")
APP = Source(SourceKind.CONFIG_MAP, "app")


def test_by_name_there_is_one_watch_a_name() -> None:
    """So that a Role with `resourceNames` is enough; of the other kind there is none."""
    scope = Scope(Access.NAMES, ("a", "b"), (DB,))
    assert scope.objects()[SourceKind.SECRET] == (
        Selection("/api/v1/namespaces/a/secrets", fields="metadata.name=db", metadata_only=True),
        Selection("/api/v1/namespaces/b/secrets", fields="metadata.name=db", metadata_only=True),
    )
    assert scope.objects()[SourceKind.CONFIG_MAP] == ()
    assert scope.watches == 2 + 2 * 3
    assert scope.covers("a", DB)
    assert not scope.covers("a", APP)
    assert not scope.covers("c", DB)


def test_by_namespace_all_of_it_is_watched() -> None:
    """Workloads whole, and Secrets by their metadata only."""
    scope = Scope(Access.NAMESPACES, ("a",))
    assert scope.workloads()["StatefulSet"] == (Selection("/apis/apps/v1/namespaces/a/statefulsets"),)
    assert all(one.metadata_only for selections in scope.objects().values() for one in selections)
    assert scope.covers("a", APP)
    assert not scope.covers("b", APP)


def test_a_cluster_takes_five_watches() -> None:
    """Whatever its size."""
    scope = Scope(Access.CLUSTER)
    assert scope.watches == 5
    assert scope.covers("anywhere", DB)


@pytest.mark.parametrize(
    ("access", "namespaces"), [(Access.NAMES, ("a",)), (Access.NAMES, ()), (Access.NAMESPACES, ())]
)
def test_watching_nothing_is_refused(access: Access, namespaces: tuple[str, ...]) -> None:
    """It would look as if all were well."""
    with pytest.raises(ValueError, match="have to be given"):
        Scope(access, namespaces)
