"""A cluster that is set back to a snapshot of etcd: the deliveries that it has lost can be freed, and no others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.objects import RUNS, run
from tests.e2e.raw import RawClient, body, raw_client
from tests.e2e.submitting import SETTINGS, run_names, short_timeout_plane, submit, until_answered, wait_until_synced
from tests.rollonce import ROOT, Installation
from tests.valkey import Valkey

pytestmark = pytest.mark.cluster

FORMAT: Final = "--dedupe-record-format=2"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """Start a control plane that is set back."""
    with short_timeout_plane(tmp_path / "plane") as running:
        yield running


@pytest.fixture
def installation(plane: ControlPlane, valkey: Valkey, tmp_path: Path) -> Iterator[Installation]:
    """Start a server that writes records with the namespace."""
    with Installation.start(plane, tmp_path / "servers", redis_url=valkey.url, settings=(*SETTINGS, FORMAT)) as running:
        wait_until_synced(plane, running)
        yield running


@pytest.fixture
async def client(plane: ControlPlane, installation: Installation) -> AsyncIterator[RawClient]:
    """Open a client that submits and does not repeat creates."""
    assert installation.replicas
    async with raw_client(plane.kubeconfig) as made:
        yield made


def runs_command(plane: ControlPlane, valkey: Valkey, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `rollonce runs …` as an administrator of the cluster."""
    return subprocess.run(
        [sys.executable, "-m", "webhook", "runs", *arguments, FORMAT],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": str(plane.kubeconfig), "ROLLONCE_REDIS_URL": valkey.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def take_snapshot(plane: ControlPlane, folder: Path) -> None:
    """Copy the data of etcd while it is stopped."""
    etcd = plane.process("etcd")
    etcd.terminate()
    shutil.copytree(plane.folder / "etcd", folder)
    etcd.start()


def restore_snapshot(plane: ControlPlane, folder: Path) -> None:
    """Replace the data of etcd, and start the API server anew, since its caches are of a later time."""
    etcd = plane.process("etcd")
    plane.kill("apiserver")
    etcd.kill()
    shutil.rmtree(plane.folder / "etcd")
    shutil.copytree(folder, plane.folder / "etcd")
    etcd.start()
    plane.restart("apiserver")


async def test_deliveries_that_a_restore_has_lost_are_freed(
    plane: ControlPlane, namespace: str, installation: Installation, client: RawClient, valkey: Valkey
) -> None:
    """After a restore, deliveries of lost runs are refused until `forget --missing` frees them, and no others.

    Run `kept` is in the snapshot, `finished` was deleted before it, `lost` and `gone` were created after it.
    """

    async def created(name: str) -> None:
        reply = await until_answered(submit(client, namespace, run(name, name=name)))
        assert reply.status == 201, reply.body

    def wait_until_confirmed(*names: str) -> None:
        def confirmed() -> bool:
            found = json.loads(runs_command(plane, valkey, "list", "-n", namespace, "-o", "json").stdout)
            return {each["run"] for each in found if each["status"] == "confirmed"} == set(names)

        plane.wait_for(confirmed, what="the records to be confirmed")

    await created("kept")
    await created("finished")
    wait_until_confirmed("finished", "kept")
    plane.kubectl("delete", RUNS, "finished", "-n", namespace)
    second = int(time.time())
    plane.wait_for(lambda: time.time() >= second + 1, what="the next second")
    taken = datetime.now(UTC).isoformat()
    snapshot = plane.folder.with_name("snapshot")
    take_snapshot(plane, snapshot)
    plane.wait_for(lambda: plane.kubectl("get", "--raw", "/readyz", check=False).returncode == 0, what="etcd to answer")
    await created("lost")
    await created("gone")
    wait_until_confirmed("gone", "kept", "lost")
    plane.kubectl("delete", RUNS, "gone", "-n", namespace)

    restore_snapshot(plane, snapshot)
    assert run_names(plane, namespace) == ["kept"]
    for name in ("kept", "finished", "lost", "gone"):
        reply = await until_answered(submit(client, namespace, run(name, name="again")))
        assert (reply.status, body(reply)["details"]["name"]) == (409, name)

    verified = runs_command(plane, valkey, "verify", "-n", namespace, "-o", "json")
    missing = json.loads(verified.stdout)["missing"]
    assert (verified.returncode, missing["count"], missing["undecided"]) == (0, 3, 0), verified.stderr
    assert sorted(each["run"] for each in missing["runs"]) == ["finished", "gone", "lost"]
    assert {each["namespace"] for each in missing["runs"]} == {namespace}

    unfiltered = runs_command(plane, valkey, "forget", "--missing", "--yes")
    assert (unfiltered.returncode, "--created-after TIME" in unfiltered.stderr) == (2, True)
    chosen = ("forget", "--missing", "-n", namespace, "--created-after", taken)
    freed = runs_command(plane, valkey, *chosen, "--yes")
    assert (freed.returncode, freed.stdout.splitlines()[-1]) == (0, "Freed: 2."), freed.stderr
    assert "finished" not in freed.stdout
    assert {json.loads(line)["run"] for line in freed.stderr.splitlines()} == {"lost", "gone"}
    assert "Missing runs that fit: 0." in runs_command(plane, valkey, *chosen).stdout

    await created("lost")
    for name in ("kept", "finished", "lost"):
        reply = await until_answered(submit(client, namespace, run(name, name="again")))
        assert (reply.status, body(reply)["details"]["name"]) == (409, name)
    assert installation.metric("rollonce_dedupe_decisions_total", outcome="duplicate") >= 7
