"""What is remembered about rollouts in annotations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.manifests import A, B
from webhook.checksums.core.keys import REVISION
from webhook.checksums.core.kinds import DAEMON_SET, DEPLOYMENT, STATEFUL_SET, WorkloadKind
from webhook.checksums.core.marks import (
    NO_DEADLINE,
    Progress,
    RolloutMark,
    StallRecord,
    contents_digest,
    deadline_seconds,
    judge,
    needs_deadline,
    rollout_id,
    rollout_number,
)
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.rollout import Rollout

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def stored(kind: WorkloadKind = DAEMON_SET, generation: int = 3, revision: str = "", **tree: Any) -> StoredWorkload:
    """Return a stored workload."""
    annotations = {REVISION: revision} if revision else {}
    metadata = {"name": "shop", "generation": generation, "annotations": annotations}
    return msgspec.convert({"metadata": metadata, **tree}, kind.stored_type)


def test_a_rollout_is_identified_by_what_only_rollouts_change() -> None:
    """The revision of a Deployment or StatefulSet, and otherwise the generation."""
    assert rollout_id(stored(DEPLOYMENT, revision="7")) == "7"
    assert rollout_id(stored(STATEFUL_SET, status={"updateRevision": "shop-5d1c"})) == "shop-5d1c"
    assert rollout_id(stored()) == "3"
    assert rollout_number(stored(DEPLOYMENT, revision="7")) == 7
    assert rollout_number(stored(DEPLOYMENT)) == 3
    assert rollout_number(stored(DEPLOYMENT, revision="9" * 5000)) == 3


def score(**status: int) -> int:
    """Return the score of a status."""
    return Progress.of(stored(status=status)).score


def test_progress_grows_with_each_pod_that_is_replaced_and_available() -> None:
    """A DaemonSet with ten nodes, of which two are replaced at a time."""
    steps = [(0, 10), (2, 8), (2, 9), (2, 10), (4, 8), (4, 10), (10, 9), (10, 10)]
    scores = [
        score(currentNumberScheduled=10, updatedNumberScheduled=updated, numberAvailable=available)
        for updated, available in steps
    ]
    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores)


def test_progress_is_that_of_one_rollout() -> None:
    """Another rollout is always progress; a pod that crashes again is none."""
    assert Progress("2", 0).is_beyond(Progress("1", 5))
    assert Progress("1", 6).is_beyond(Progress("1", 5))
    assert not Progress("1", 4).is_beyond(Progress("1", 5))


@given(score=st.integers(-1000, 1000), seconds=st.integers(0, 10**9), rollout=st.sampled_from(["7", "shop-5d1c"]))
def test_a_record_is_read_as_it_was_written(score: int, seconds: int, rollout: str) -> None:
    """In whole seconds."""
    record = StallRecord(Progress(rollout, score), NOW + timedelta(seconds=seconds))
    assert StallRecord.parse(str(record)) == record


@given(text=st.none() | st.text(max_size=40) | st.just("7 1 yesterday") | st.just("7 x 2026-01-01T00:00:00Z"))
def test_odd_annotations_are_no_records(text: str | None) -> None:
    """Every user who can edit a workload can write them."""
    assert StallRecord.parse(text) is None
    assert RolloutMark.parse(text) is None


@pytest.mark.parametrize("mark", [RolloutMark("5d1c", 7, broken=False), RolloutMark("5d1c", 0, broken=True)])
def test_a_mark_is_read_as_it_was_written(mark: RolloutMark) -> None:
    """With and without the word."""
    assert RolloutMark.parse(str(mark)) == mark


@pytest.mark.parametrize("text", ["5d1c", "5d1c x", "5d1c 7 odd", "5d1c 7 broken x", "5d1c ²", "5d1c " + "9" * 5000])
def test_odd_annotations_are_no_marks(text: str) -> None:
    """A word too few, too many, or another one."""
    assert RolloutMark.parse(text) is None


def test_contents_differ() -> None:
    """By key and by checksum, in any order."""
    assert contents_digest({"a": A, "b": B}) == contents_digest({"b": B, "a": A})
    assert len({contents_digest(one) for one in ({}, {"a": A}, {"a": B}, {"b": A})}) == 4


def test_which_workloads_need_a_deadline() -> None:
    """A Deployment has one, unless it is switched off, or has rolled out and became unavailable afterwards."""
    assert needs_deadline(stored())
    assert needs_deadline(stored(STATEFUL_SET))
    assert needs_deadline(stored(DEPLOYMENT, spec={"progressDeadlineSeconds": NO_DEADLINE}))
    assert not needs_deadline(stored(DEPLOYMENT, spec={"progressDeadlineSeconds": 600}))
    conditions = [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]
    rolled_out = stored(DEPLOYMENT, spec={"progressDeadlineSeconds": 600}, status={"conditions": conditions})
    assert needs_deadline(rolled_out)


def test_pods_that_must_be_ready_for_long_have_longer() -> None:
    """They are no progress before that."""
    assert deadline_seconds(stored(), 600) == 600
    assert deadline_seconds(stored(spec={"minReadySeconds": 60}), 600) == 660


def test_a_rollout_without_progress_has_failed() -> None:
    """From the deadline on, if it is the recorded one and has not come further."""
    workload = stored(status={"currentNumberScheduled": 2, "numberAvailable": 1, "updatedNumberScheduled": 1})
    rolling, failed = Rollout.ROLLING, Rollout.FAILED

    def judged(record: str | None, seconds: float, reported: Rollout = rolling) -> Rollout:
        return judge(workload, reported, record, now=NOW + timedelta(seconds=seconds), deadline=600)

    record = str(StallRecord(Progress.of(workload), NOW))
    assert judged(record, 599) is rolling
    assert judged(record, 600) is failed
    assert judged(None, 600) is rolling
    assert judged(str(StallRecord(Progress("3", -5), NOW)), 600) is rolling
    assert judged(str(StallRecord(Progress("2", 5), NOW)), 600) is rolling
    assert judged(str(StallRecord(Progress("3", 5), NOW)), 600) is failed
    for reported in (Rollout.DONE, Rollout.PAUSED, failed):
        assert judged(record, 600, reported) is reported
