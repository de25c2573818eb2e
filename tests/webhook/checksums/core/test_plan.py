"""Which workloads may be written now."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.decisions import STAGED, decision
from tests.webhook.checksums.manifests import A, B, Json, applied, manifest, secret, workload
from webhook.admission.patch import Add, Replace
from webhook.checksums.core.decide import NOTHING_DECIDED
from webhook.checksums.core.inputs import Found
from webhook.checksums.core.keys import ENABLED, MANAGED, RESUMED, REVISION, ROLLED, SECRETS
from webhook.checksums.core.kinds import DEPLOYMENT, STATEFUL_SET, WorkloadId
from webhook.checksums.core.marks import contents_digest
from webhook.checksums.core.plan import Observed, Places, Plan, Wave, plan
from webhook.checksums.core.rollout import Rollout

KEY = "checksum/secret.db"
TO_B = Wave(Places("prod", KEY), B)


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
        revision: The number of its rollout.
        left: Keys whose removal rolls out now.
    """

    name: str
    checksum: str | None = A
    rollout: Rollout = Rollout.DONE
    annotations: dict[str, str] = field(default_factory=dict)
    replaces_pods: bool = True
    namespace: str = "prod"
    revision: int = 7
    left: frozenset[str] = frozenset()

    @property
    def tree(self) -> Json:
        """Its manifest."""
        managed = {MANAGED: KEY} if self.checksum else {}
        checksums = {KEY: self.checksum} if self.checksum else {}
        annotations = {SECRETS: "db", REVISION: str(self.revision), **managed, **self.annotations}
        return manifest(annotations=annotations, template_annotations=checksums)

    @property
    def id(self) -> WorkloadId:
        """Its identity."""
        return WorkloadId(self.namespace, DEPLOYMENT, self.name)

    def observed(self) -> Observed:
        """Return it with the decision about it."""
        before = Observed(
            id=self.id,
            workload=workload(self.tree),
            resource_version="42",
            rollout=self.rollout,
            replaces_pods=self.replaces_pods,
            decision=NOTHING_DECIDED,
            rollout_id=str(self.revision),
            rollout_number=self.revision,
            left=self.left,
        )
        decided = decision(self.tree, Found(B), controller=True, rules=STAGED, standing=before.standing)
        return replace(before, decision=decided)


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


@pytest.mark.parametrize("checksum", [A, B, "c" * 64])
def test_a_rollout_for_any_reason_takes_up_a_place(checksum: str) -> None:
    """Whatever contents the workload has: it depends on the object, and it is not available."""
    rolling = replace(Shop("b", checksum=checksum, rollout=Rollout.ROLLING).observed(), decision=NOTHING_DECIDED)
    assert plan([Shop("a").observed(), rolling], 1).write == ()


def test_a_rollout_of_another_object_takes_up_no_place() -> None:
    """The workload does not depend on the object."""
    other = Shop("a", checksum=None, rollout=Rollout.ROLLING, annotations={ENABLED: "false"})
    assert written(other, Shop("b")) == ["b"]


def test_a_workload_that_rolls_already_needs_no_second_place() -> None:
    """It gets the new contents first, unless more roll than may: then they wait until fewer do."""
    rolling = [Shop(name, rollout=Rollout.ROLLING) for name in "yz"]
    assert written(Shop("a"), *rolling, limit=2) == ["y", "z"]
    assert written(Shop("a"), *rolling, limit=1) == []


def test_a_paused_workload_takes_up_no_place() -> None:
    """It is not rolled out until a user resumes it."""
    assert written(Shop("a", checksum=B, rollout=Rollout.PAUSED), Shop("b")) == ["b"]


def test_a_failed_rollout_stops_the_wave() -> None:
    """No other workload gets the checksum; the plan names the failed workload."""
    decided = planned(Shop("a", checksum=B, rollout=Rollout.FAILED), Shop("b"), limit=5)
    assert decided.write == ()
    assert decided.queued == (Shop("b").id,)
    assert decided.stopped == {TO_B: (Shop("a").id,)}


def test_a_failure_with_an_older_checksum_stops_nothing() -> None:
    """The next change may be the repair: it is rolled out, also to the failed workload."""
    failed = Shop("z", checksum=A, rollout=Rollout.FAILED)
    assert sorted(written(failed, Shop("b"), limit=2)) == ["b", "z"]


def mark(checksum: str, before: int, broken: str = "") -> dict[str, str]:
    """Return the annotation that the controller writes together with a checksum."""
    return {ROLLED: f"{contents_digest({KEY: checksum})} {before}{broken}"}


def test_a_workload_that_was_broken_before_is_not_blamed() -> None:
    """Its rollout failed before it got the contents, and so it stops no other workload from getting them."""
    broken = Shop("a", checksum=A, rollout=Rollout.FAILED)
    (change,) = [one for one in broken.observed().decision.operations if "rolled" in one.path]
    assert isinstance(change, Add)
    assert mark(B, 7, " broken") == {ROLLED: change.value}
    after = replace(broken, checksum=B, revision=8, annotations=mark(B, 7, " broken"))
    assert written(after, Shop("b")) == ["b"]
    assert planned(after, Shop("b")).stopped == {}


@pytest.mark.parametrize("rollout", [Rollout.ROLLING, Rollout.PAUSED])
@pytest.mark.parametrize(("revision", "broken"), [(7, " broken"), (8, " broken"), (9, "")])
def test_a_workload_is_as_broken_as_before_until_its_rollout_ends(rollout: Rollout, revision: int, broken: str) -> None:
    """It gets newer contents in haste. With another rollout since, its author may have repaired it."""
    shop = Shop("a", checksum=A, rollout=rollout, revision=revision, annotations=mark(A, 7, " broken"))
    (change,) = [one for one in shop.observed().decision.operations if "rolled" in one.path]
    assert isinstance(change, Replace)
    assert mark(B, revision, broken) == {ROLLED: change.value}


@pytest.mark.parametrize("annotations", [mark(B, 7), mark(A, 7, " broken"), {}, {ROLLED: "odd"}, {ROLLED: "x 1 odd"}])
def test_a_workload_that_was_not_broken_is_blamed(annotations: dict[str, str]) -> None:
    """Also if another client wrote the contents, or the mark is about other contents."""
    failed = Shop("a", checksum=B, rollout=Rollout.FAILED, annotations=annotations, revision=8)
    assert planned(failed, Shop("b")).stopped == {TO_B: (failed.id,)}


def test_a_workload_that_contents_broke_shows_whether_the_next_are_a_repair() -> None:
    """It gets them first, and if it fails again, they are to blame: no other workload gets them."""
    broken = Shop("z", checksum=A, rollout=Rollout.FAILED, annotations=mark(A, 6))
    assert written(Shop("a"), broken, limit=1) == ["z"]
    (change,) = [one for one in broken.observed().decision.operations if "rolled" in one.path]
    assert isinstance(change, Replace)
    assert mark(B, 7) == {ROLLED: change.value}
    again = replace(broken, checksum=B, revision=8, annotations=mark(B, 7))
    assert planned(Shop("a"), again).stopped == {TO_B: (again.id,)}


def test_a_workload_that_was_broken_otherwise_comes_last() -> None:
    """It may keep its place until the deadline. Its author changed it after it had got its contents."""
    broken = Shop("a", checksum=A, rollout=Rollout.FAILED, annotations=mark(A, 5))
    assert written(broken, Shop("b")) == ["b"]
    assert written(broken, Shop("b"), limit=2) == ["b", "a"]


def test_a_mark_that_is_about_other_contents_is_removed() -> None:
    """Where there is nothing to remember."""
    tree = Shop("a", annotations=mark(A, 5)).tree
    assert ROLLED not in applied(tree, decision(tree, Found(B), old=tree).operations)["metadata"]["annotations"]


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
    rolling = replace(shops[0], checksum=None, rollout=Rollout.ROLLING, left=frozenset({KEY}))
    assert written(rolling, shops[1]) == []


def test_a_removal_is_not_stopped() -> None:
    """Without the key, no failed rollout can be blamed on the contents of the object."""
    failed = Shop("a", checksum=None, rollout=Rollout.FAILED, annotations={ENABLED: "false"})
    assert written(failed, Shop("b", annotations={ENABLED: "false"})) == ["b"]


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
        workload_id = WorkloadId("prod", DEPLOYMENT, name)
        return Observed(workload_id, workload(tree), "1", rollout, replaces_pods=True, decision=decided)

    both = observed("b", A, Rollout.DONE)
    assert len(both.waves) == 2
    assert plan([both], limit).write == (both,)
    failed = Shop("a", checksum=B, rollout=Rollout.FAILED).observed()
    assert plan([failed, both], limit).write == ()
