"""`rollonce runs`: the commands for operators, with the real command line on a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest
import redis

from tests.controlplane import ControlPlane
from tests.controlplane.polling import wait_for
from tests.e2e.objects import RUNS, run, runs
from tests.e2e.test_deduplication import create
from tests.rollonce import ROOT
from tests.valkey import Valkey
from webhook.dedupe.core.identity import DeliveryKey

pytestmark = pytest.mark.usefixtures("installation")


class RunsCommand:
    """Call `rollonce runs` as an administrator of the cluster."""

    def __init__(self, plane: ControlPlane, store: Valkey) -> None:
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(plane.kubeconfig),
            "ROLLONCE_REDIS_URL": store.url,
            "COLUMNS": "200",
        }

    def __call__(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """Run `rollonce runs …`."""
        return subprocess.run(
            [sys.executable, "-m", "webhook", "runs", *arguments],
            cwd=ROOT,
            env=self._environment,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command with `-o json` and return the decoded output."""
        return json.loads(self(*arguments, "-o", "json").stdout)


@pytest.fixture
def runs_command(plane: ControlPlane, store: Valkey) -> RunsCommand:
    """Return a function that calls the commands for the shared installation."""
    return RunsCommand(plane, store)


@pytest.fixture
def delivery_id() -> str:
    """Return a new delivery id."""
    return str(uuid4())


def client_of(store: Valkey) -> Any:
    """Connect to the store, to damage it."""
    return redis.Redis.from_url(store.url)


def key_arguments(namespace: str, delivery_id: str) -> tuple[str, ...]:
    """Return the arguments that identify a delivery."""
    return "-n", namespace, "--ref", "build", "--id", delivery_id


def test_a_delivery_is_found_by_each_filter(
    plane: ControlPlane, namespace: str, runs_command: RunsCommand, delivery_id: str
) -> None:
    """The run is listed with its record by namespace, orchestration, id or name, and other runs are not."""
    assert create(plane, namespace, run(delivery_id, name="first")).returncode == 0
    assert create(plane, namespace, run("[red]a/b[/red]", name="other", ref="deploy")).returncode == 0
    for filters in (("--run", "first"), ("--ref", "build"), ("--id", delivery_id)):
        (found,) = runs_command.json("list", "-n", namespace, *filters)
        assert (found["run"], found["delivery_id"]) == ("first", delivery_id)
    # No controller runs here: a server reads the run about a second after it was allowed, and confirms its record.
    wait_for(
        lambda: {found["status"] for found in runs_command.json("list", "-n", namespace)} == {"confirmed"},
        what="the records to be confirmed",
    )
    table = runs_command("list", "-n", namespace).stdout
    assert [word in table for word in ("first", delivery_id, "[red]a/b[/red]", "confirmed")] == [True] * 4
    assert "No stored run fits" in runs_command("list", "-n", namespace, "--run", "unknown").stdout


def test_a_deleted_run_is_shown_by_its_delivery(
    plane: ControlPlane, namespace: str, runs_command: RunsCommand, delivery_id: str
) -> None:
    """The store has the record of a deleted run, which is found by its delivery and not by the name of the run."""
    assert create(plane, namespace, run(delivery_id, name="gone")).returncode == 0
    plane.kubectl("delete", RUNS, "gone", "-n", namespace)
    report = runs_command.json("show", *key_arguments(namespace, delivery_id))
    assert (report["record"]["run"], report["record"]["state"], report["runs"]) == ("gone", "confirmed", [])
    assert report["record"]["expires"] > report["record"]["created"]
    refused = runs_command("show", f"{namespace}/gone")
    assert refused.returncode == 1
    assert "--namespace, --ref and --id" in refused.stderr
    assert runs_command("show").returncode == 2
    assert "Stored runs: none" in runs_command("show", *key_arguments(namespace, delivery_id)).stdout


def test_a_forgotten_delivery_makes_a_run_again(
    plane: ControlPlane, namespace: str, runs_command: RunsCommand, delivery_id: str
) -> None:
    """`forget` asks for confirmation, describes the consequence, logs, and frees the delivery once."""
    assert create(plane, namespace, run(delivery_id, prefix="build-")).returncode == 0
    (stored,) = runs(plane, namespace)
    name = stored["metadata"]["name"]
    declined = runs_command("forget", f"{namespace}/{name}", answer="n\n")
    assert declined.returncode == 1
    assert "Nothing was changed" in declined.stderr
    assert "(AlreadyExists)" in create(plane, namespace, run(delivery_id, name="second")).stderr
    done = runs_command("forget", f"{namespace}/{name}", "--yes")
    assert done.returncode == 0
    assert "still exists and keeps its generated name" in done.stdout
    line = json.loads(done.stderr)
    assert (line["deliveryId"], line["uid"]) == (delivery_id, stored["metadata"]["uid"])
    assert runs_command("forget", f"{namespace}/{name}", "--yes").returncode == 1
    assert create(plane, namespace, run(delivery_id, name="second")).returncode == 0
    assert "second" in create(plane, namespace, run(delivery_id, name="third")).stderr


def test_a_missing_record_is_found_and_restored(
    plane: ControlPlane, namespace: str, runs_command: RunsCommand, delivery_id: str, store: Valkey
) -> None:
    """`verify` reports a run without its record with exit code 1, and `--fix` writes the record."""
    assert create(plane, namespace, run(delivery_id, name="kept")).returncode == 0
    wait_for(lambda: runs_command.json("verify", "-n", namespace)["findings"] == [], what="the record to be confirmed")
    key = DeliveryKey(namespace, "build", delivery_id).record_key
    client_of(store).delete(key)
    found = runs_command("verify", "-n", namespace)
    assert found.returncode == 1
    assert "missing" in found.stdout
    assert "--fix would mend 1" in found.stdout
    fixed = runs_command("verify", "-n", namespace, "--fix")
    assert (fixed.returncode, "Mended: 1" in fixed.stdout) == (0, True)
    assert runs_command.json("verify", "-n", namespace)["findings"] == []
    client_of(store).set(key, b"\x63damaged")
    assert runs_command.json("verify", "-n", namespace, "--fix")["findings"][0]["run"]["status"] == "unreadable"


def test_without_redis_the_error_is_one_line(runs_command: RunsCommand, plane: ControlPlane, namespace: str) -> None:
    """If Redis cannot be reached, standard error has a message and no traceback."""
    assert create(plane, namespace, run("d", name="any")).returncode == 0
    failed = runs_command("list", "-n", namespace, "--redis-url", "redis://127.0.0.1:1")
    assert failed.returncode == 1
    assert failed.stderr.startswith("rollonce: error: Redis cannot be used")
    assert "Traceback" not in failed.stderr
