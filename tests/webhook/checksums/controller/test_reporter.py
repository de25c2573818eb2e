"""What is reported to users, and how often."""

from __future__ import annotations

from dataclasses import replace

import structlog
from prometheus_client import CollectorRegistry

from tests.webhook.checksums.core.test_plan import TO_B, Shop
from tests.webhook.checksums.decisions import decision
from tests.webhook.checksums.manifests import workload
from tests.webhook.kube.waiting import eventually
from webhook.checksums.controller.reporter import StatusReporter
from webhook.checksums.core.inputs import Absent, Unreadable
from webhook.checksums.core.plan import Observed, plan
from webhook.checksums.core.rollout import Rollout
from webhook.checksums.metrics import RolloutMetrics
from webhook.kube.events import EventType, Subject


class Recorder:
    """Keeps the Events that are recorded."""

    def __init__(self) -> None:
        self.events: list[tuple[str, EventType, str, str]] = []

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        self.events.append((subject.name, kind, reason, message))


def new_reporter() -> tuple[StatusReporter, Recorder]:
    """Return a reporter, and the recorder of its Events."""
    recorder = Recorder()
    return StatusReporter(recorder, structlog.get_logger(), RolloutMetrics(CollectorRegistry())), recorder


def observed(shop: Shop, reading: Absent | Unreadable) -> Observed:
    """Return a workload whose Secret was not found."""
    return replace(shop.observed(), decision=decision(shop.tree, reading, controller=True))


def test_each_finding_is_reported_once() -> None:
    """It is reported again only if it had ended in between."""
    reporter, recorder = new_reporter()
    missing = observed(Shop("a", checksum=None), Absent())
    for state in (missing, missing, Shop("a").observed(), missing):
        reporter.observed(state, ())
    assert [(event[2], event[1]) for event in recorder.events] == [("SourceMissing", EventType.WARNING)] * 2
    assert 'Secret "db" does not exist' in recorder.events[0][3]


def test_a_forgotten_finding_is_reported_again() -> None:
    """A later workload of the same name is another workload."""
    reporter, recorder = new_reporter()
    missing = observed(Shop("a", checksum=None), Absent())
    reporter.observed(missing, ())
    reporter.forget(missing.id)
    reporter.observed(missing, ())
    assert len(recorder.events) == 2


def test_disappeared_and_unreadable_differ() -> None:
    """Both keep the last checksum, but only the first means that the object is gone."""
    reporter, recorder = new_reporter()
    reporter.observed(observed(Shop("a"), Absent()), ())
    reporter.observed(observed(Shop("a"), Unreadable("HTTP 403")), ())
    assert [event[2] for event in recorder.events] == ["SourceMissing", "SourceUnreadable"]
    assert "Its last checksum is kept." in recorder.events[1][3]


async def test_a_patch_is_reported_by_names_without_contents() -> None:
    """Neither the old nor the new checksum is in the Event."""
    reporter, recorder = new_reporter()
    reporter.wrote(Shop("a").observed())
    assert recorder.events == []
    await eventually(lambda: recorder.events)
    assert recorder.events == [("a", EventType.NORMAL, "ConfigChanged", 'Rolled out (new contents of Secret "db").')]


async def test_a_patch_of_a_paused_workload_is_no_rollout_yet() -> None:
    """The Event does not say that it was rolled out."""
    reporter, recorder = new_reporter()
    shop = Shop("a")
    tree = shop.tree
    tree["spec"]["paused"] = True
    reporter.wrote(replace(shop.observed(), workload=workload(tree)))
    await eventually(lambda: recorder.events)
    assert recorder.events[0][3] == 'Written (new contents of Secret "db"); rolled out when it is resumed.'


def test_a_rollout_without_progress_is_reported_once() -> None:
    """And again if it is another rollout."""
    reporter, recorder = new_reporter()
    for revision in (7, 7, 8):
        reporter.stalled(Shop("a", revision=revision).observed())
    assert [(event[2], event[1]) for event in recorder.events] == [("RolloutStalled", EventType.WARNING)] * 2


def test_a_write_that_was_undone_is_reported() -> None:
    """With the keys that have their old values, and what to do if rollonce itself undid it."""
    reporter, recorder = new_reporter()
    reporter.reverted(Shop("a").observed())
    ((_, kind, reason, message),) = recorder.events
    assert (kind, reason) == (EventType.WARNING, "RolloutReverted")
    assert "restored the old value of checksum/secret.db" in message
    assert "rollonce webhooks" in message


def test_a_stopped_wave_is_reported_on_the_failed_workload() -> None:
    """Once, with the command that resumes the wave."""
    reporter, recorder = new_reporter()
    workloads = {state.id: state for state in (Shop("a", "b" * 64, Rollout.FAILED).observed(), Shop("b").observed())}
    planned = plan(workloads.values(), 1)
    assert planned.stopped == {TO_B: (Shop("a").id,)}
    for _ in range(2):
        reporter.stopped("prod", planned, workloads)
    ((name, _, reason, message),) = recorder.events
    assert (name, reason) == ("a", "RolloutStopped")
    assert "rollonce checksums resume deployment/a -n prod" in message
    reporter.stopped("prod", plan([], 1), {})
    reporter.stopped("prod", planned, workloads)
    assert len(recorder.events) == 2
