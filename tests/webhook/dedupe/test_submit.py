"""`rollonce submit` where no webhook of rollonce is called: nothing may be created twice either."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.api_front import api_front
from tests.e2e.objects import run, runs
from tests.e2e.submit_command import submit
from tests.rollonce import ROOT, RUN_CRD
from webhook.dedupe.core.identity import generated_name

pytestmark = pytest.mark.cluster


#: Runs a command, and prints which of the clients it has imported.
IMPORTS = """
import sys
from webhook.cli import run
code = run(sys.argv[1:])
print(code, *sorted({"aiohttp", "redis"} & {*sys.modules}), file=sys.stderr)
"""


@pytest.fixture
def definition(plane: ControlPlane) -> None:
    """Let the API server know runs."""
    plane.kubectl("apply", "-f", str(RUN_CRD))
    plane.kubectl("wait", "--for=condition=Established", "-f", str(RUN_CRD), "--timeout=30s")


@pytest.mark.parametrize(("command", "imported"), [("--help", "0\n"), ("submit", "0 aiohttp\n")])
def test_clients_are_imported_when_they_are_needed(command: str, imported: str) -> None:
    """No command but `submit` imports its client, and `submit` does not import that of Redis."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, command, *(("--help",) if command == "submit" else ())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == imported


@pytest.mark.usefixtures("definition")
def test_without_a_webhook_a_lost_reply_is_no_second_run(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """With a name of its own the create is sent again; with a generated name it is not, and the client is told why."""
    with api_front(plane, tmp_path) as front:
        front.lost_replies = 1
        named = submit(front.kubeconfig, [run(None, name="a")], "-n", namespace)
        assert (named.code, named.run["name"], named.run["idempotent"]) == (0, "a", True)
        front.lost_replies = 1
        generated = submit(front.kubeconfig, [run("d", prefix="b-")], "-n", namespace)
        assert (generated.code, generated.runs) == (1, [])
        assert "whether the run was created is unknown" in generated.messages
        assert front.creates == [False, False, False, True]
    assert len(runs(plane, namespace)) == 2


@pytest.mark.usefixtures("definition")
def test_a_name_that_is_taken_is_a_duplicate_only_of_its_own_delivery(plane: ControlPlane, namespace: str) -> None:
    """The API server compares names only: the run that it names is read and compared."""
    name = generated_name("build-", "build", "d")
    first = run("d", name=name, parameters={"a": "1"})
    made = submit(plane.kubeconfig, [first], "-n", namespace)
    assert (made.code, made.run["idempotent"]) == (0, False)
    assert "no webhook of rollonce has handled this create" in made.messages
    again = submit(plane.kubeconfig, [first], "-n", namespace)
    assert (again.code, again.run) == (0, {**made.run, "idempotent": True})
    mismatch = submit(plane.kubeconfig, [run("d", name=name, parameters={"a": "2"})], "-n", namespace)
    assert (mismatch.code, mismatch.run) == (3, {**made.run, "idempotent": True, "payloadMismatch": True})
    other = submit(plane.kubeconfig, [run("e", name=name)], "-n", namespace)
    assert (other.code, other.runs) == (1, [])
    assert f'another OrchestrationRun has the name "{name}"' in other.messages


def test_an_api_server_that_cannot_be_reached_is_waited_for(plane: ControlPlane, tmp_path: Path) -> None:
    """Each wait is told, and the time is bounded."""
    config = json.loads(plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    result = submit(tmp_path / "kubeconfig", [run("d")], "--timeout=2s")
    assert (result.code, result.runs) == (1, [])
    assert "cannot be reached" in result.messages
    assert "trying again in" in result.messages
