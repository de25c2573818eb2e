"""`rollonce runs` against a real API server and a real Valkey, without a running admission server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pytest
import redis

from tests.controlplane import ControlPlane
from tests.e2e.objects import run
from tests.rollonce import ROOT, RUN_CRD
from tests.valkey import Valkey
from webhook.dedupe.core.identity import LABEL, DeliveryKey, label_value

pytestmark = pytest.mark.cluster

#: `rollonce` with this feature only.
PROGRAM: Final = """
import sys
from webhook.cli import run
from webhook.dedupe.feature import DEDUPE
sys.exit(run(sys.argv[1:], features=(DEDUPE,)))
"""
#: Runs `rollonce runs …`; returns the exit code, the output and the errors.
Runs: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(plane: ControlPlane, valkey: Valkey) -> Runs:
    """The command, with the settings of the test."""
    plane.kubectl("apply", "-f", str(RUN_CRD))
    plane.kubectl("wait", "--for=condition=Established", "-f", str(RUN_CRD), "--timeout=30s")
    settings = (f"--kubeconfig={plane.kubeconfig}", f"--redis-url={valkey.url}")

    def call(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "runs", *arguments, *settings],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return call


def create(plane: ControlPlane, namespace: str, name: str, delivery_id: str = "d-1") -> None:
    """Store a run as the mutating webhook would change it, without any record."""
    manifest = run(delivery_id, name=name)
    manifest["metadata"]["labels"] = {LABEL: label_value(delivery_id)}
    plane.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest))


def test_a_run_without_a_record_is_found_and_mended(plane: ControlPlane, namespace: str, runs: Runs) -> None:
    """`verify` ends with exit code 1 until `--fix` has confirmed the run; a second run is a conflict."""
    create(plane, namespace, "first")
    code, output, _ = runs("verify", "-n", namespace, "-o", "json")
    report: Any = json.loads(output)
    assert (code, report["checked"], report["findings"][0]["run"]["status"]) == (1, 1, "missing")
    assert report["unsynced_buckets"] == 64
    code, output, _ = runs("verify", "-n", namespace, "--fix")
    assert (code, "Mended: 1." in output, "rebuilding 64 of 64" in output) == (0, True, True)
    create(plane, namespace, "second")
    code, output, _ = runs("verify", "-n", namespace, "--fix")
    assert code == 1
    assert "conflict: first" in output
    assert "A conflict is a second run of its delivery" in output
    code, output, _ = runs("list", "-n", namespace, "--id", "d-1", "-o", "json")
    assert {found["run"]: found["status"] for found in json.loads(output)} == {
        "first": "confirmed",
        "second": "conflict",
    }
    code, output, _ = runs("list", "-n", namespace)
    assert len(output.splitlines()) == 3


def test_a_record_that_cannot_be_decoded_is_an_error(
    plane: ControlPlane, namespace: str, runs: Runs, valkey: Valkey
) -> None:
    """`list` reports it as the status of the run; `show` and `forget` end with an error of one line."""
    create(plane, namespace, "first")
    client: Any = redis.Redis.from_url(valkey.url)
    client.set(DeliveryKey(namespace, "build", "d-1").record_key, b"\x63damaged")
    client.close()
    _, output, _ = runs("list", "-n", namespace, "-o", "json")
    assert [found["status"] for found in json.loads(output)] == ["unreadable"]
    for command in (("show",), ("forget", "--yes")):
        code, _, errors = runs(*command, f"{namespace}/first")
        assert (code, errors.count("\n")) == (1, 1)
        assert "format 99" in errors


def test_a_delivery_is_forgotten_once(plane: ControlPlane, namespace: str, runs: Runs) -> None:
    """A run without a record is confirmed and then forgotten; after that there is nothing to forget."""
    create(plane, namespace, "first")
    code, output, errors = runs("forget", f"{namespace}/first", "--yes")
    assert (code, "both exist" in output, json.loads(errors)["event"]) == (0, True, "delivery forgotten")
    _, output, _ = runs("show", f"{namespace}/first", "-o", "json")
    report = json.loads(output)
    assert (report["record"]["state"], report["runs"][0]["status"]) == ("forgotten", "forgotten")
    code, _, errors = runs("forget", f"{namespace}/first", "--yes")
    assert (code, "there is nothing to forget" in errors) == (1, True)
    code, _, errors = runs("show", f"{namespace}/missing")
    assert (code, "--namespace, --ref and --id" in errors) == (1, True)
    assert runs("show")[0] == 2
