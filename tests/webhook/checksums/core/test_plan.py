"""Which workloads may be written now."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.decisions import decision
from tests.webhook.checksums.manifests import A, B, Json, manifest, secret, workload
from webhook.checksums.core.inputs import Found
from webhook.checksums.core.keys import ENABLED, MANAGED, RESUMED, REVISION, SECRETS
from webhook.checksums.core.kinds import DEPLOYMENT, STATEFUL_SET, WorkloadId
from webhook.checksums.core.plan import Observed, Plan, Wave, plan
from webhook.checksums.core.rollout import Rollout

KEY = "checksum/secret.db"
TO_B = Wave("prod", KEY, B)


@dataclass
class Shop:
    """A Deployment that depends on the Secret `db`, whose current checksum is `B`.

    Attributes:
        name: Its name.
        checksum: The checksum in its pod template.
        rollout: The progress of its rollout.
        annotations: Further annotations.
        replaces_pods: Whether a new pod template would replace pods.
        namespace: Its namespace.
    """

    name: str
    checksum: str | None = A
    rollout: Rollout = Rollout.DONE
    annotations: dict[str, str] = field(default_factory=dict)
    replaces_pods: bool = True
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
        """Its identity."""
        return WorkloadId(self.namespace, DEPLOYMENT, self.name)

    def observed(self) -> Observed:
        """Return it with the decision about it."""
        return Observed(
            id=self.id,
            workload=workload(self.tree),
            resource_version="42",
            rollout=self.rollout,
            replaces_pods=self.replaces_pods,
            decision=decision(self.tree, Found(B), controller=True),
        )


def planned(*shops: Shop, limit: int = 1) -> Plan:
    """Return the plan for some Deployments."""
    return plan([shop.observed() for shop in shops], limit)


def written(*shops: Shop, limit: int = 1) -> list[str]:
    """Return the names of those that may be written."""
    return [observed.id.name for observed in planned(*shops, limit=limit).write]


def test_without_a_limit_all_are_written() -> None:
    """The default."""
    assert written(Shop("a"), Shop("b"), Shop("c", checksum=B), limit=0) == ["a", "b"]


def test_only_so_many_at_a_time() -> None:
    """In the order of their names, so that every controller does the same; the others are queued."""
    decided = planned(Shop("c"), Shop("a"), Shop("b"), limit=2)
    assert [observed.id.name for observed in decided.write] == ["a", "b"]
    assert decided.queued == (Shop("c").id,)
    assert decided.stopped == {}


def test_a_rolling_workload_takes_up_a_place() -> None:
    """The next one waits until it is available."""
    assert written(Shop("a", checksum=B, rollout=Rollout.ROLLING), Shop("b")) == []
    assert written(Shop("a", checksum=B, rollout=Rollout.DONE), Shop("b")) == ["b"]


def test_a_rollout_for_another_reason_takes_up_no_place() -> None:
    """The workload does not have the checksum of the wave."""
    assert written(Shop("a", checksum=None, rollout=Rollout.ROLLING, annotations={ENABLED: "false"}), Shop("b")) == [
        "b"
    ]


def test_a_failed_rollout_stops_the_wave() -> None:
    """No other workload gets the checksum; the plan names the failed workload."""
    decided = planned(Shop("a", checksum=B, rollout=Rollout.FAILED), Shop("b"), limit=5)
    assert decided.write == ()
    assert decided.queued == (Shop("b").id,)
    assert decided.stopped == {TO_B: (Shop("a").id,)}


def test_a_failure_with_an_older_checksum_stops_nothing() -> None:
    """The next change may be the repair: it is rolled out, also to the failed workload."""
    assert written(Shop("a", checksum=A, rollout=Rollout.FAILED), Shop("b"), limit=2) == ["a", "b"]


def test_a_resumed_wave_continues() -> None:
    """The failed workload does not stop it, as long as its revision does not change."""
    failed = Shop("a", checksum=B, rollout=Rollout.FAILED, annotations={RESUMED: "7"})
    assert written(failed, Shop("b")) == ["b"]
    assert written(replace(failed, annotations={RESUMED: "6"}), Shop("b")) == []


def test_a_workload_without_pods_does_not_wait() -> None:
    """A paused workload, or one without replicas, is written at once."""
    assert written(Shop("a", checksum=B, rollout=Rollout.FAILED), Shop("b", replaces_pods=False)) == ["b"]


def test_namespaces_are_independent() -> None:
    """Objects with the same name in two namespaces are different objects."""
    assert written(Shop("a", checksum=B, rollout=Rollout.FAILED, namespace="test"), Shop("b")) == ["b"]


def test_opting_out_is_staged_too() -> None:
    """Removing a key replaces pods like any other change."""
    shops = [Shop(name, annotations={ENABLED: "false"}) for name in "ab"]
    assert written(*shops) == ["a"]
    assert written(replace(shops[0], checksum=None, rollout=Rollout.ROLLING), shops[1]) == []


def test_names_of_workloads() -> None:
    """They look like paths, and are sorted by namespace."""
    assert str(Shop("a").id) == "prod/deployment/a"
    assert WorkloadId("a", STATEFUL_SET, "z") < WorkloadId("b", DEPLOYMENT, "a")


@given(count=st.integers(1, 12), limit=st.integers(1, 4), seed=st.integers())
def test_a_wave_ends_and_never_exceeds_its_limit(count: int, limit: int, seed: int) -> None:
    """For any duration of each rollout, and without any memory between two plans."""
    random_source = random.Random(seed)
    shops = [Shop(f"shop-{n:02}") for n in range(count)]
    for _ in range(100 * count):
        for observed in planned(*shops, limit=limit).write:
            shop = next(shop for shop in shops if shop.id == observed.id)
            shop.checksum, shop.rollout = B, Rollout.ROLLING
        rolling = [shop for shop in shops if shop.rollout is Rollout.ROLLING]
        assert len(rolling) <= limit
        if not rolling:
            break
        random_source.choice(rolling).rollout = Rollout.DONE
    assert {(shop.checksum, shop.rollout) for shop in shops} == {(B, Rollout.DONE)}


@pytest.mark.parametrize("limit", [1, 3])
def test_two_objects_need_only_one_rollout(limit: int) -> None:
    """A workload with a place in both waves gets both checksums; if one of the waves is stopped, it waits."""

    def observed(name: str, db: str, rollout: Rollout) -> Observed:
        keys = {KEY: db, "checksum/secret.tls": db}
        tree = manifest(annotations={SECRETS: "db, tls", MANAGED: ",".join(keys)}, template_annotations=keys)
        decided = decision(tree, {secret("db"): Found(B), secret("tls"): Found(B)}, controller=True)
        return Observed(WorkloadId("prod", DEPLOYMENT, name), workload(tree), "1", rollout, True, decided)

    both = observed("b", A, Rollout.DONE)
    assert len(both.waves) == 2
    assert plan([both], limit).write == (both,)
    failed = Shop("a", checksum=B, rollout=Rollout.FAILED).observed()
    assert plan([failed, both], limit).write == ()
