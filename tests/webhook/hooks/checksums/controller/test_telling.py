"""What people are told, and how often."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import ANY

import structlog
from prometheus_client import CollectorRegistry

from tests.webhook.controller.waiting import eventually
from tests.webhook.hooks.checksums.core.test_decide import outcome
from tests.webhook.hooks.checksums.core.test_plan import TO_B, Shop
from webhook.controller.events import EventType, Subject
from webhook.hooks.checksums.controller.telling import Teller
from webhook.hooks.checksums.core.facts import Absent, Unreadable
from webhook.hooks.checksums.core.plan import Observed, plan
from webhook.hooks.checksums.core.rollout import Rollout
from webhook.hooks.checksums.metrics import RollMetrics


class Notebook:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, EventType, str, str]] = []

    def record(self, subject: Subject, kind: EventType, reason: str, message: str) -> None:
        self.lines.append((subject.name, kind, reason, message))


def teller() -> tuple[Teller, Notebook]:
    """Somebody who tells, and what he told."""
    notebook = Notebook()
    return Teller(notebook, structlog.get_logger(), RollMetrics(CollectorRegistry())), notebook


def seen(shop: Shop, reading: Absent | Unreadable) -> Observed:
    """A workload whose Secret was looked for in vain."""
    return replace(shop.observed(), outcome=outcome(shop.tree, reading, controller=True))


def test_each_finding_is_told_once() -> None:
    """Again only after it was otherwise."""
    somebody, notebook = teller()
    missing = seen(Shop("a", checksum=None), Absent())
    for look in (missing, missing, Shop("a").observed(), missing):
        somebody.looked(look, ())
    assert [(line[2], line[1]) for line in notebook.lines] == [("SourceMissing", EventType.WARNING)] * 2
    assert 'Secret "db" does not exist' in notebook.lines[0][3]


def test_what_is_forgotten_is_told_again() -> None:
    """A workload of the same name that comes later is another one."""
    somebody, notebook = teller()
    missing = seen(Shop("a", checksum=None), Absent())
    somebody.looked(missing, ())
    somebody.forget(missing.id)
    somebody.looked(missing, ())
    assert len(notebook.lines) == 2


def test_disappeared_and_unreadable_are_two_things() -> None:
    """Both keep the last checksum, and only one means that the object is gone."""
    somebody, notebook = teller()
    somebody.looked(seen(Shop("a"), Absent()), ())
    somebody.looked(seen(Shop("a"), Unreadable("HTTP 403")), ())
    assert [line[2] for line in notebook.lines] == ["SourceMissing", "SourceUnreadable"]
    assert "Its last checksum is kept." in notebook.lines[1][3]


async def test_a_patch_names_what_changed_and_no_contents() -> None:
    """Neither the old nor the new checksum is anywhere in it."""
    somebody, notebook = teller()
    somebody.wrote(Shop("a").observed())
    assert notebook.lines == []
    await eventually(lambda: notebook.lines)
    assert notebook.lines == [("a", EventType.NORMAL, "ConfigChanged", 'Rolled out (new contents of Secret "db").')]


def test_a_stopped_wave_is_told_on_the_one_that_failed() -> None:
    """Once, with the command that goes on."""
    somebody, notebook = teller()
    everyone = {one.id: one for one in (Shop("a", "b" * 64, Rollout.FAILED).observed(), Shop("b").observed())}
    planned = plan(everyone.values(), 1)
    assert planned.stopped == {TO_B: ANY}
    for _ in range(2):
        somebody.stopped("prod", planned, everyone)
    ((name, _, reason, message),) = notebook.lines
    assert (name, reason) == ("a", "RolloutStopped")
    assert "rollonce checksums resume deployment/a -n prod" in message
    somebody.stopped("prod", plan([], 1), {})
    somebody.stopped("prod", planned, everyone)
    assert len(notebook.lines) == 2
