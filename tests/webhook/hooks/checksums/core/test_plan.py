"""Whose turn it is."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.hooks.checksums.core.test_decide import outcome
from tests.webhook.hooks.checksums.manifests import A, B, Json, applied, manifest, secret, workload
from webhook.hooks.checksums.core.facts import Found
from webhook.hooks.checksums.core.keys import ENABLED, MANAGED, RESUMED, REVISION, SECRETS
from webhook.hooks.checksums.core.plan import Observed, Plan, Wave, plan
from webhook.hooks.checksums.core.rollout import Rollout
from webhook.hooks.checksums.core.workload import WorkloadId

KEY = "checksum/secret.db"
TO_B = Wave("prod", KEY, B)


@dataclass
class Shop:
    """A Deployment that depends on the Secret `db`, whose checksum is `B` by now.

    Attributes:
        name: Its name.
        checksum: What its pod template carries.
        rollout: How far it is.
    """

    name: str
    checksum: str | None = A
    rollout: Rollout = Rollout.DONE
    annotations: dict[str, str] = field(default_factory=dict)
    starts_pods: bool = True
    namespace: str = "prod"

    @property
    def tree(self) -> Json:
        """Its manifest."""
        managed = {MANAGED: KEY} if self.checksum else {}
        checksums = {KEY: self.checksum} if self.checksum else {}
        annotations = {SECRETS: "db", REVISION: "7", **managed, **self.annotations}
        return manifest(annotations=annotations, template_annotations=checksums)

    @property
    def id(self) -> WorkloadId:
        """Which it is."""
        return WorkloadId(self.namespace, "Deployment", self.name)

    def observed(self) -> Observed:
        """As the controller sees it."""
        return Observed(
            id=self.id,
            workload=workload(self.tree),
            resource_version="42",
            rollout=self.rollout,
            starts_pods=self.starts_pods,
            outcome=outcome(self.tree, Found(B), controller=True),
        )


def planned(*shops: Shop, limit: int = 1) -> Plan:
    """The plan for some shops."""
    return plan([shop.observed() for shop in shops], limit)


def written(*shops: Shop, limit: int = 1) -> list[str]:
    """Whose turn it is, by name."""
    return [one.id.name for one in planned(*shops, limit=limit).write]


def test_without_a_limit_all_go_at_once() -> None:
    """The default."""
    assert written(Shop("a"), Shop("b"), Shop("c", checksum=B), limit=0) == ["a", "b"]


def test_only_so_many_at_a_time() -> None:
    """In the order of their names, so that every controller agrees; the others are queued."""
    decided = planned(Shop("c"), Shop("a"), Shop("b"), limit=2)
    assert [one.id.name for one in decided.write] == ["a", "b"]
    assert decided.queued == (Shop("c").id,)
    assert decided.stopped == {}


def test_who_is_rolling_takes_up_a_place() -> None:
    """The next one waits until it is available."""
    assert written(Shop("a", checksum=B, rollout=Rollout.ROLLING), Shop("b")) == []
    assert written(Shop("a", checksum=B, rollout=Rollout.DONE), Shop("b")) == ["b"]


def test_who_rolls_for_another_reason_takes_none_up() -> None:
    """It does not carry what this wave brings."""
    assert written(Shop("a", checksum=None, rollout=Rollout.ROLLING, annotations={ENABLED: "false"}), Shop("b")) == [
        "b"
    ]


def test_a_failed_rollout_stops_the_wave() -> None:
    """Nobody else gets what it failed with; the plan says who it was."""
    decided = planned(Shop("a", checksum=B, rollout=Rollout.FAILED), Shop("b"), limit=5)
    assert decided.write == ()
    assert decided.queued == (Shop("b").id,)
    assert decided.stopped == {TO_B: (Shop("a").id,)}


def test_a_failure_with_an_older_checksum_stops_nothing() -> None:
    """The next change goes on, and may well be the repair: the one that failed gets it too."""
    assert written(Shop("a", checksum=A, rollout=Rollout.FAILED), Shop("b"), limit=2) == ["a", "b"]


def test_resuming_goes_on() -> None:
    """The failed one is left behind, as long as it stays as it is."""
    failed = Shop("a", checksum=B, rollout=Rollout.FAILED, annotations={RESUMED: "7"})
    assert written(failed, Shop("b")) == ["b"]
    assert written(replace(failed, annotations={RESUMED: "6"}), Shop("b")) == []


def test_what_replaces_no_pod_waits_for_nobody() -> None:
    """A paused workload, or one of no replicas, is written at once."""
    assert written(Shop("a", checksum=B, rollout=Rollout.FAILED), Shop("b", starts_pods=False)) == ["b"]


def test_namespaces_are_apart() -> None:
    """Objects of one name in two namespaces have nothing to do with each other."""
    assert written(Shop("a", checksum=B, rollout=Rollout.FAILED, namespace="test"), Shop("b")) == ["b"]


def test_opting_out_is_staged_as_well() -> None:
    """Losing a key replaces pods like any other change."""
    shops = [Shop(name, annotations={ENABLED: "false"}) for name in "ab"]
    assert written(*shops) == ["a"]
    assert written(replace(shops[0], checksum=None, rollout=Rollout.ROLLING), shops[1]) == []


def test_every_write_has_a_precondition() -> None:
    """If somebody else has written since, the API server answers 409 and nothing is written."""
    one = Shop("a").observed()
    patched = applied(
        {**Shop("a").tree, "metadata": {**Shop("a").tree["metadata"], "resourceVersion": "41"}}, one.patch
    )
    assert patched["metadata"]["resourceVersion"] == "42"
    assert patched["spec"]["template"]["metadata"]["annotations"] == {KEY: B}
    assert Shop("a", checksum=B).observed().patch == ()


def test_names_of_workloads() -> None:
    """They read like paths, and sort by namespace."""
    assert str(Shop("a").id) == "prod/deployment/a"
    assert WorkloadId("a", "StatefulSet", "z") < WorkloadId("b", "Deployment", "a")


@given(count=st.integers(1, 12), limit=st.integers(1, 4), seed=st.integers())
def test_a_wave_ends_and_never_exceeds_its_limit(count: int, limit: int, seed: int) -> None:
    """However long each rollout takes, and however often the controller starts anew."""
    chance = random.Random(seed)
    shops = [Shop(f"shop-{n:02}") for n in range(count)]
    for _ in range(100 * count):
        for one in planned(*shops, limit=limit).write:
            shop = next(shop for shop in shops if shop.id == one.id)
            shop.checksum, shop.rollout = B, Rollout.ROLLING
        rolling = [shop for shop in shops if shop.rollout is Rollout.ROLLING]
        assert len(rolling) <= limit
        if not rolling:
            break
        chance.choice(rolling).rollout = Rollout.DONE
    assert {(shop.checksum, shop.rollout) for shop in shops} == {(B, Rollout.DONE)}


@pytest.mark.parametrize("limit", [1, 3])
def test_two_objects_are_taken_along_in_one_rollout(limit: int) -> None:
    """Whoever has a place in both waves takes both; a stopped one of the two keeps it back."""

    def observed(name: str, db: str, rollout: Rollout) -> Observed:
        keys = {KEY: db, "checksum/secret.tls": db}
        tree = manifest(annotations={SECRETS: "db, tls", MANAGED: ",".join(keys)}, template_annotations=keys)
        decided = outcome(tree, {secret("db"): Found(B), secret("tls"): Found(B)}, controller=True)
        return Observed(WorkloadId("prod", "Deployment", name), workload(tree), "1", rollout, True, decided)

    both = observed("b", A, Rollout.DONE)
    assert len(both.waves) == 2
    assert plan([both], limit).write == (both,)
    failed = Shop("a", checksum=B, rollout=Rollout.FAILED).observed()
    assert plan([failed, both], limit).write == ()
