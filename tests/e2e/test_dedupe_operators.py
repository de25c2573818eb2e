"""`rollonce runs`: what an operator asks and does, with the real command line on a real cluster."""

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
from tests.e2e.objects import RUNS, run, runs
from tests.e2e.test_deduplication import create
from tests.rollonce import ROOT
from tests.valkey import Valkey
from webhook.hooks.dedupe.core.key import DeliveryKey

pytestmark = pytest.mark.usefixtures("installation")


class Operator:
    """Somebody at a terminal."""

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
        """Run it with `-o json`."""
        return json.loads(self(*arguments, "-o", "json").stdout)


@pytest.fixture
def operator(plane: ControlPlane, store: Valkey) -> Operator:
    """Of the shared installation."""
    return Operator(plane, store)


@pytest.fixture
def delivery_id() -> str:
    """A delivery that nobody has seen."""
    return str(uuid4())


def client_of(store: Valkey) -> Any:
    """A client of the store, for what only a fault does."""
    return redis.Redis.from_url(store.url)


def key_of(namespace: str, delivery_id: str) -> tuple[str, ...]:
    """The arguments that name a delivery."""
    return "-n", namespace, "--ref", "build", "--id", delivery_id


def test_a_delivery_is_found_by_each_of_its_names(
    plane: ControlPlane, namespace: str, operator: Operator, delivery_id: str
) -> None:
    """By namespace, orchestration, id or run the same run is listed, with its record; others are left out."""
    assert create(plane, namespace, run(delivery_id, name="mine")).returncode == 0
    assert create(plane, namespace, run("[red]a/b[/red]", name="other", ref="deploy")).returncode == 0
    for wanted in (("--run", "mine"), ("--ref", "build"), ("--id", delivery_id)):
        (found,) = operator.json("list", "-n", namespace, *wanted)
        assert (found["run"], found["delivery_id"]) == ("mine", delivery_id)
    table = operator("list", "-n", namespace).stdout
    assert [word in table for word in ("mine", delivery_id, "[red]a/b[/red]", "reserved")] == [True] * 4
    assert "No stored run fits" in operator("list", "-n", namespace, "--run", "nobody").stdout


def test_a_deleted_run_is_shown_by_its_delivery(
    plane: ControlPlane, namespace: str, operator: Operator, delivery_id: str
) -> None:
    """What the cluster has forgotten, the store still tells; by the run's name alone it cannot be found."""
    assert create(plane, namespace, run(delivery_id, name="gone")).returncode == 0
    plane.kubectl("delete", RUNS, "gone", "-n", namespace)
    report = operator.json("show", *key_of(namespace, delivery_id))
    assert (report["record"]["run"], report["record"]["state"], report["runs"]) == ("gone", "confirmed", [])
    assert report["record"]["expires"] > report["record"]["created"]
    refused = operator("show", f"{namespace}/gone")
    assert refused.returncode == 1
    assert "--namespace, --ref and --id" in refused.stderr
    assert operator("show").returncode == 2
    assert "Stored runs: none" in operator("show", *key_of(namespace, delivery_id)).stdout


def test_a_forgotten_delivery_makes_a_run_again(
    plane: ControlPlane, namespace: str, operator: Operator, delivery_id: str
) -> None:
    """Forgetting asks, says what a run that still exists means, logs, and frees the delivery once."""
    assert create(plane, namespace, run(delivery_id, prefix="build-")).returncode == 0
    (stored,) = runs(plane, namespace)
    name = stored["metadata"]["name"]
    declined = operator("forget", f"{namespace}/{name}", answer="n\n")
    assert declined.returncode == 1
    assert "Nothing was changed" in declined.stderr
    assert "(AlreadyExists)" in create(plane, namespace, run(delivery_id, name="second")).stderr
    done = operator("forget", f"{namespace}/{name}", "--yes")
    assert done.returncode == 0
    assert "still exists and keeps its generated name" in done.stdout
    line = json.loads(done.stderr)
    assert (line["deliveryId"], line["uid"]) == (delivery_id, stored["metadata"]["uid"])
    assert operator("forget", f"{namespace}/{name}", "--yes").returncode == 1
    assert create(plane, namespace, run(delivery_id, name="second")).returncode == 0
    assert "second" in create(plane, namespace, run(delivery_id, name="third")).stderr


def test_what_the_store_lacks_is_found_and_mended(
    plane: ControlPlane, namespace: str, operator: Operator, delivery_id: str, store: Valkey
) -> None:
    """A run without its record is reported with exit code 1, mended by --fix, and then all is well."""
    assert create(plane, namespace, run(delivery_id, name="kept")).returncode == 0
    assert operator.json("verify", "-n", namespace)["findings"][0]["run"]["standing"] == "reserved"
    key = DeliveryKey(namespace, "build", delivery_id).record_key
    client_of(store).delete(key)
    found = operator("verify", "-n", namespace)
    assert found.returncode == 1
    assert "missing" in found.stdout
    assert "--fix would mend 1" in found.stdout
    mended = operator("verify", "-n", namespace, "--fix")
    assert (mended.returncode, "Mended: 1" in mended.stdout) == (0, True)
    assert operator.json("verify", "-n", namespace)["findings"] == []
    client_of(store).set(key, b"\x63damaged")
    assert operator.json("verify", "-n", namespace, "--fix")["findings"][0]["run"]["standing"] == "unreadable"


def test_without_redis_an_error_is_a_line(operator: Operator, plane: ControlPlane, namespace: str) -> None:
    """Nobody sees a traceback."""
    assert create(plane, namespace, run("d", name="any")).returncode == 0
    failed = operator("list", "-n", namespace, "--redis-url", "redis://127.0.0.1:1")
    assert failed.returncode == 1
    assert failed.stderr.startswith("rollonce: error: Redis cannot be used")
    assert "Traceback" not in failed.stderr
