"""The runbook has a section for each alert, and its commands, objects and quotations exist."""

from __future__ import annotations

import re
import shlex
from typing import Final

import pytest
import yaml
from click.testing import CliRunner

from tests.chart.conftest import Render
from tests.chart.runbook import RUNBOOK, rollonce_commands
from tests.rollonce import ROOT
from webhook.app import Application
from webhook.cli import command_line
from webhook.features import FEATURES

ALERTS: Final = ROOT / "deploy" / "dashboards" / "alerts.yaml"
#: Made by others than the chart.
OTHERS: Final = {("pod", "rollonce-valkey-0"), ("secret", "rollonce-tls")}


def test_each_alert_has_its_section() -> None:
    """The sections are those of the alerts, in the same order, each with what it means, what is seen and what to do."""
    groups = yaml.safe_load(ALERTS.read_text())["spec"]["groups"]
    sections = RUNBOOK.split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections] == [
        rule["alert"] for group in groups for rule in group["rules"]
    ]
    for section in sections:
        assert re.findall(r"\*\*(Means|Users see|Do)\b", section) == ["Means", "Users see", "Do"], section
        assert "```sh\n" in section, section


def test_links_lead_to_sections() -> None:
    """Each link within the page names a section."""
    titles = {title.lower() for title in re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)}
    assert set(re.findall(r"\(#([^)]+)\)", RUNBOOK)) == titles


@pytest.mark.parametrize("command", rollonce_commands(RUNBOOK))
def test_commands_of_rollonce_exist(command: str) -> None:
    """The command line knows the command and its options."""
    done = CliRunner().invoke(command_line(Application(FEATURES)), [*shlex.split(command)[1:], "--help"])
    assert done.exit_code == 0, done.output


@pytest.mark.cluster
def test_the_objects_are_those_of_the_chart(render: Render) -> None:
    """Each object that a command names is one that is installed."""
    installed = {(found["kind"].lower(), found["metadata"]["name"]) for found in render()}
    blocks = "".join(re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL))
    named = re.findall(r"(?<= )([a-z]+)/(rollonce[\w-]*)", blocks)
    assert len(named) > 10
    titles = {("deployment" if kind == "deploy" else kind.removesuffix("s"), name) for kind, name in named}
    assert titles - installed == OTHERS


def test_quoted_events_of_the_log_exist() -> None:
    """What the page says that the log has is in the code."""
    quoted = re.findall(r"has `([^`]+)`", " ".join(RUNBOOK.split()))
    assert len(quoted) > 3
    code = "".join(path.read_text() for path in (ROOT / "webhook").rglob("*.py"))
    assert [event for event in quoted if f'"{event}"' not in code] == []
