"""`rollonce checksums` and `rollonce render`, as a user calls them, against a real API server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.commands import Result, run
from tests.e2e.controllers import Controller, Workloads, annotations_of
from tests.e2e.objects import PREFIX, config_map, deployment, secret
from tests.e2e.test_controller_waves import reasons, unschedulable

pytestmark = pytest.mark.cluster

KEY = "checksum/secret.db"


class Shell:
    """Call `rollonce` as an administrator of the cluster."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def __call__(self, *arguments: str, text: str | None = None) -> Result:
        """Run a command; its exit code is not checked."""
        environment = {**os.environ, "KUBECONFIG": str(self._plane.kubeconfig)}
        argv = [sys.executable, "-m", "webhook", *arguments]
        return run(argv, input=text, env=environment, check=False, timeout=60)


@pytest.fixture
def rollonce(plane: ControlPlane) -> Shell:
    """Return a function that calls the command line."""
    return Shell(plane)


@pytest.fixture
def rolled(plane: ControlPlane, namespace: str, tmp_path: Path) -> Workloads:
    """Create a Deployment whose checksums a controller has written; the controller has ended."""
    plane.apply([secret("db", password="one"), deployment(secrets="db")], namespace=namespace)
    shop = Workloads(plane, namespace)
    with Controller.start(plane, tmp_path, namespace, name="before"):
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
    return shop


def test_status_shows_stale_workloads(rolled: Workloads, rollonce: Shell) -> None:
    """The exit code, the table and the JSON show whether the checksums of each workload are current."""
    namespace = rolled.namespace
    current = rollonce("checksums", "status", "-n", namespace)
    assert current.returncode == 0
    assert current.stdout.splitlines()[1].split() == [namespace, "deployment/web", "current", "done"]
    rolled.plane.apply(secret("db", password="two"), namespace=namespace)
    stale = rollonce("checksums", "status", "-n", namespace, "-o", "json")
    assert stale.returncode == 1
    (report,) = json.loads(stale.stdout)
    assert report["state"] == "stale"
    assert [(source["source"], source["state"]) for source in report["sources"]] == [("secret/db", "stale")]


def test_explain_shows_missing_objects(rolled: Workloads, rollonce: Shell) -> None:
    """The output has each object with its state; for a workload without checksums there is an error."""
    rolled.plane.kubectl(
        "annotate", "deployment", "web", f"{PREFIX}secrets=db, absent", "--overwrite", "-n", rolled.namespace
    )
    explained = rollonce("checksums", "explain", "deployment/web", "-n", rolled.namespace)
    assert explained.returncode == 0
    assert "secret/absent: missing, in checksum/secret.absent" in explained.stdout
    assert 'Secret "absent" does not exist' in explained.stdout
    unknown = rollonce("checksums", "explain", "deploy/unknown", "-n", rolled.namespace)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("rollonce: error:")


def test_remove_deletes_the_managed_keys(rolled: Workloads, rollonce: Shell) -> None:
    """A dry run changes nothing, a first call removes the managed keys, and a second call finds none."""
    before = rolled.generations()
    dry = rollonce("checksums", "remove", "-n", rolled.namespace, "--dry-run")
    assert "would lose checksum/secret.db" in dry.stdout
    assert rolled.generations() == before
    assert "1 workloads roll." in rollonce("checksums", "remove", "-n", rolled.namespace).stdout
    assert annotations_of(rolled.all()["web"]) == {}
    assert "0 workloads roll." in rollonce("checksums", "remove", "-n", rolled.namespace).stdout
    assert rolled.generations() == {"web": before["web"] + 1}


def test_resume_continues_the_wave(plane: ControlPlane, namespace: str, rollonce: Shell, tmp_path: Path) -> None:
    """After `resume` the wave continues past the failed rollout; before a failure `resume` is an error."""
    shop = Workloads(plane, namespace)
    plane.apply([secret("db", password="one"), unschedulable("a"), deployment("b", secrets="db")], namespace=namespace)
    refused = rollonce("checksums", "resume", "deployment/b", "-n", namespace)
    assert (refused.returncode, "has not failed" in refused.stderr) == (1, True)
    with Controller.start(plane, tmp_path, namespace, "--rollout-checksums-max-concurrent=1"):
        plane.wait_for(lambda: "RolloutStopped" in reasons(plane, namespace, "a"), what="the wave to stop")
        assert "rollonce checksums resume deployment/a" in reasons(plane, namespace, "a")["RolloutStopped"]
        assert rollonce("checksums", "resume", "deployment/a", "-n", namespace).returncode == 0
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))


def test_render_can_read_from_the_cluster(rolled: Workloads, rollonce: Shell) -> None:
    """With --from-cluster the checksum is that of the stored object, and --diff says which workloads would roll."""
    web = json.dumps(deployment(secrets="db"))
    without = rollonce("render", text=web)
    assert (without.returncode, "secret/db is not among the manifests" in without.stderr) == (1, True)
    arguments = ("render", "--from-cluster", "-n", rolled.namespace)
    rendered = rollonce(*arguments, text=web)
    assert rendered.returncode == 0
    assert annotations_of(json.loads(rendered.stdout)) == {KEY: rolled.current("secret", "db")}
    assert rollonce(*arguments, "--diff", text=web).stdout.endswith("/deployment/web: does not roll\n")
    rolled.plane.apply(secret("db", password="two"), namespace=rolled.namespace)
    assert rollonce(*arguments, "--diff", text=web).stdout.endswith(f"/deployment/web: rolls, by {KEY}\n")


def test_render_without_a_cluster(rollonce: Shell) -> None:
    """A stream of manifests is rendered with the objects in it, and --diff prints a diff."""
    stream = json.dumps(config_map("app", color="blue")) + "\n---\n" + json.dumps(deployment(configmaps="app")) + "\n"
    shown = rollonce("render", "--diff", text=stream)
    assert shown.returncode == 0
    assert "+" in shown.stdout
    assert "checksum/configmap.app" in shown.stdout
