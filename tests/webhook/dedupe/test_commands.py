"""`rollonce runs` against a real API server and a real Valkey, without a running admission server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

import pytest
import redis

from tests.controlplane import ControlPlane
from tests.e2e.objects import run
from tests.rollonce import ROOT, RUN_CRD
from tests.valkey import Valkey
from webhook.cli import run as command_line
from webhook.dedupe.core.identity import LABEL, DeliveryKey, label_value
from webhook.dedupe.core.record import NO_REQUEST, OLD_VERSION, VERSION, Record, State, decode, encode
from webhook.dedupe.feature import DEDUPE
from webhook.dedupe.settings import RETENTION

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

    def call(*arguments: str, answer: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "runs", *arguments, *settings],
            cwd=ROOT,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return call


def create(plane: ControlPlane, namespace: str, name: str, delivery_id: str = "d-1", ref: str = "build") -> None:
    """Store a run as the mutating webhook would change it, without any record."""
    manifest = run(delivery_id, name=name, ref=ref)
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
    assert code == 1
    assert {found["run"]: found["status"] for found in json.loads(output)} == {
        "first": "confirmed",
        "second": "conflict",
    }
    code, output, _ = runs("list", "-n", namespace)
    assert (code, len(output.splitlines())) == (1, 3)
    assert runs("show", f"{namespace}/first")[0] == 1


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


def test_a_delivery_is_found_without_its_orchestration(plane: ControlPlane, namespace: str, runs: Runs) -> None:
    """Without `--ref` the one delivery of this id is shown; several are listed; `--ref ''` means none."""
    code, _, errors = runs("show", "-n", namespace, "--id", "d-1")
    assert (code, "name its orchestration by --ref ('' if it had none)" in errors) == (1, True)
    create(plane, namespace, "first")
    runs("verify", "-n", namespace, "--fix")
    code, output, _ = runs("show", "-n", namespace, "--id", "d-1", "-o", "json")
    report = json.loads(output)
    assert (code, report["orchestration"], report["record"]["run"]) == (0, "build", "first")
    code, output, _ = runs("show", "-n", namespace, "--id", "d-1", "--ref", "", "-o", "json")
    report = json.loads(output)
    assert (code, report["orchestration"], report["record"], report["runs"]) == (0, "", None, [])
    create(plane, namespace, "second", ref="deploy")
    for command in (("show",), ("forget", "--yes")):
        code, output, errors = runs(*command, "-n", namespace, "--id", "d-1")
        assert (code, "Choose one by --ref: 'build', 'deploy'." in errors) == (1, True)
        assert [line.split()[3] for line in output.splitlines()] == ["RUN", "first", "second"]
    code, output, _ = runs("list", "-n", namespace, "--ref", "")
    assert (code, "No stored run fits" in output) == (0, True)


def test_a_table_in_a_file_has_one_line_for_each_run(plane: ControlPlane, namespace: str, runs: Runs) -> None:
    """Neither a long name nor a line end in an id breaks a row, and nothing is cut off."""
    create(plane, namespace, "n" * 200, delivery_id="two\nlines " + "i" * 200)
    code, output, _ = runs("list", "-A", "--run", "n" * 200)
    _, row = output.splitlines()
    assert (code, "n" * 200 in row, "two\\nlines " + "i" * 200 in row) == (1, True, True)


def test_runs_that_are_not_installed_are_an_error_in_words(plane: ControlPlane, namespace: str, runs: Runs) -> None:
    """Without its CustomResourceDefinition each command says so in one line."""
    plane.kubectl("delete", "-f", str(RUN_CRD), "--timeout=60s")
    try:
        for command in (("verify",), ("show", f"{namespace}/first"), ("forget", "--missing", "-n", namespace)):
            code, _, errors = runs(*command)
            assert (code, errors.count("\n")) == (1, 1)
            assert "The CustomResourceDefinition orchestrationruns.orchestration.proompteng.ai is not inst" in errors
    finally:
        plane.kubectl("apply", "-f", str(RUN_CRD))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("forget --missing --yes", "Give --created-after TIME"),
        ("forget --missing -A --yes", "Give --created-after TIME"),
        ("forget --missing --run a --id b", "--missing finds deliveries itself"),
        ("forget a/b --run a", "go with --missing"),
        ("forget --missing --created-after yesterday", "such as 2026-01-31T13:00:00Z"),
        ("forget --missing --created-after 2026-01-31T13:00:00", "with its zone"),
        ("list -n No_Name", "lower case letters"),
        ("verify -n shop -A", "Give either a namespace by -n, or -A for all."),
        ("show --id a", "--namespace and --id"),
    ],
)
def test_a_wrong_command_line_is_told(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2, and the message says what to give."""
    assert command_line(["runs", *arguments.split()], features=(DEDUPE,)) == 2
    assert told in capsys.readouterr().err


def record(name: str, *, age: float, namespace: str = "") -> Record:
    """Return the confirmed record of a run that was created some time ago."""
    created_at = int(time.time() - age)
    return Record(
        State.CONFIRMED, name, str(uuid.uuid4()), NO_REQUEST, b"f" * 8, created_at, 1, "Succeeded", namespace=namespace
    )


def test_records_without_runs_are_named_and_freed_by_choice(
    plane: ControlPlane, namespace: str, runs: Runs, valkey: Valkey
) -> None:
    """`verify` counts them and stays at exit code 0; `forget --missing` frees those that are asked for, and no other.

    Those of format 1 do not tell their namespace, so they are left out where one is given, and found where all are.
    """
    create(plane, namespace, "kept")
    old, new = 9_000, 4_000
    lost = [record(f"lost-{number}", age=new, namespace=namespace) for number in range(30)]
    others = (
        record("earlier", age=old, namespace=namespace),
        record("elsewhere", age=new, namespace="other"),
        record("expired", age=RETENTION.parse(RETENTION.default).total_seconds() + 9, namespace=namespace),
        replace(record("waits", age=new, namespace=namespace), state=State.RESERVED, request=b"r" * 6),
        replace(record("freed", age=new, namespace=namespace), state=State.FORGOTTEN),
    )
    client: Any = redis.Redis.from_url(valkey.url)

    def state(name: str, within: str = namespace) -> State:
        return decode(client.get(DeliveryKey(within, "build", name).record_key)).state

    for each in (*lost, *others):
        client.set(DeliveryKey(each.namespace, "build", each.name).record_key, encode(each, VERSION))
    client.set(DeliveryKey(namespace, "build", "unplaced").record_key, encode(record("unplaced", age=new), OLD_VERSION))
    # The record tells another run than the one that is stored: the delivery has a run all the same.
    kept = record("kept", age=new, namespace=namespace)
    client.set(DeliveryKey(namespace, "build", "d-1").record_key, encode(kept, VERSION))

    code, output, _ = runs("verify", "-n", namespace)
    assert "Missing runs, whose deliveries stay refused: 31." in output
    assert "… and 11 more" in output
    assert "Left out: 1 records" in output
    _, output, _ = runs("verify", "-n", namespace, "-o", "json")
    missing = json.loads(output)["missing"]
    assert len(missing["runs"]) == missing["count"] == 31
    assert {each["run"] for each in missing["runs"]} == {"earlier", *(each.name for each in lost)}
    _, output, _ = runs("verify", "-o", "json")
    assert json.loads(output)["missing"]["count"] == 33

    choice = ("forget", "--missing", "-n", namespace, "--created-after", "6000s")
    code, output, _ = runs(*choice, answer="n\n")
    assert (code, "Free 30?" in output, state("lost-1")) == (1, True, State.CONFIRMED)
    code, output, errors = runs(*choice, "--run", "lost-1*", "--yes")
    assert (code, "Freed: 11." in output, len(errors.splitlines())) == (0, True, 11)
    code, output, errors = runs(*choice, "--yes")
    assert (code, "Freed: 19." in output, "Left out: 1 records" in output) == (0, True, True)
    assert {state(each.name) for each in lost} == {State.FORGOTTEN}
    assert state("earlier") is state("unplaced") is state("elsewhere", "other") is state("d-1") is State.CONFIRMED
    code, output, _ = runs("forget", "--missing", "--run", "unplaced", "--yes")
    assert (code, "Freed: 1." in output, state("unplaced")) == (0, True, State.FORGOTTEN)
    client.close()
