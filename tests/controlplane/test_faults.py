"""Each component of a control plane can be frozen, killed and restarted, and nothing remains when its parent ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import (
    AuditLevel,
    CommandError,
    Component,
    ControlPlane,
    ControlPlaneError,
    ManagedProcess,
    Options,
    ProcessError,
    wait_for,
)
from tests.controlplane.liveness import is_alive
from tests.controlplane.test_plane import deployment

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane for the tests that break and repair it."""
    with ControlPlane.start(tmp_path_factory.mktemp("fragile")) as running:
        yield running


def roll_out(plane: ControlPlane, name: str) -> None:
    """Create a Deployment and wait until its pod is Ready, which needs every component."""
    plane.apply(deployment(name))
    plane.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")


@pytest.mark.parametrize("component", list(Component))
def test_each_component_works_after_sigkill_and_restart(fragile: ControlPlane, component: Component) -> None:
    """After a restart, stored objects exist and new pods become Ready."""
    name = f"killed-{component}"
    fragile.kubectl("create", "configmap", name)
    process = fragile.process(component)
    first = process.pid
    fragile.kill(component)
    assert not is_alive(first)
    assert process.returncode == -signal.SIGKILL
    fragile.restart(component)
    assert process.pid != first
    assert fragile.get("configmap", name)
    roll_out(fragile, name)


@pytest.mark.parametrize("component", [Component.ETCD, Component.APISERVER])
def test_writes_fail_while_etcd_or_the_api_server_is_frozen(fragile: ControlPlane, component: Component) -> None:
    """A frozen server accepts connections and gives no answer; after `thaw` it works."""
    name = f"frozen-{component}"
    fragile.freeze(component)
    with pytest.raises(CommandError):
        fragile.kubectl("create", "configmap", name, "--request-timeout=1s", timeout=10)
    fragile.thaw(component)
    roll_out(fragile, name)


def test_a_frozen_controller_manager_creates_no_replica_set(fragile: ControlPlane) -> None:
    """A Deployment is not observed until the controller manager continues."""
    fragile.freeze("controller-manager")
    fragile.apply(deployment("unseen"))
    assert "observedGeneration" not in fragile.get("deployment", "unseen")["status"]
    fragile.thaw("controller-manager")
    roll_out(fragile, "unseen")


def test_a_frozen_scheduler_leaves_pods_without_a_node(fragile: ControlPlane) -> None:
    """A pod is bound to no node until the scheduler continues."""
    fragile.freeze("scheduler")
    fragile.apply(deployment("unbound"))
    fragile.wait_for(lambda: pods(fragile, "unbound"), what="the pod to be created")
    assert [pod["spec"].get("nodeName") for pod in pods(fragile, "unbound")] == [None]
    fragile.thaw("scheduler")
    roll_out(fragile, "unbound")


def test_a_frozen_kwok_leaves_pods_pending(fragile: ControlPlane) -> None:
    """A pod is bound to a node and Pending until kwok continues."""
    fragile.freeze("kwok")
    fragile.apply(deployment("pending"))
    fragile.wait_for(
        lambda: [pod for pod in pods(fragile, "pending") if pod["spec"].get("nodeName")], what="the pod to be bound"
    )
    assert [pod["status"]["phase"] for pod in pods(fragile, "pending")] == ["Pending"]
    fragile.thaw("kwok")
    roll_out(fragile, "pending")


def test_a_compacted_revision_is_gone(fragile: ControlPlane) -> None:
    """After `compact` and a restart of the API server, a watch from an old resourceVersion gets 410."""
    old = fragile.get("configmap", "kube-root-ca.crt", "default")["metadata"]["resourceVersion"]
    fragile.kubectl("create", "configmap", "later")
    assert fragile.compact() > int(old)
    fragile.restart("apiserver")
    path = f"/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=5&resourceVersion={old}"
    event = json.loads(fragile.kubectl("get", "--raw", path).stdout)
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_options_are_applied(tmp_path: Path) -> None:
    """Flags, number of nodes and audit level are those of the options, and the audit log has no data of Secrets."""
    options = Options(
        nodes=1,
        durable=True,
        audit_level=AuditLevel.REQUEST_RESPONSE,
        apiserver_args=("--max-requests-inflight=30", "--max-mutating-requests-inflight=20"),
    )
    with ControlPlane.start(tmp_path / "plane", options=options) as plane:
        assert "--unsafe-no-fsync" not in plane.process("etcd").argv
        assert plane.kubectl("get", "nodes", "-o", "name").stdout.split() == ["node/node-1"]
        metrics = plane.kubectl("get", "--raw", "/metrics").stdout
        seats = [
            float(line.split()[-1])
            for line in metrics.splitlines()
            if line.startswith("apiserver_flowcontrol_nominal_limit_seats{")
        ]
        assert 40 <= sum(seats) <= 60
        plane.kubectl("create", "secret", "generic", "hidden", "--from-literal=password=hunter2")
        plane.apply(deployment("seen"))
        (made,) = plane.audit.events(user="admin", verb="create", resource="deployments")
        assert b'"kind":"Deployment"' in bytes(made.response_object)
        assert b"hunter2" not in plane.audit.path.read_bytes()
        assert b"aHVudGVyMg" not in plane.audit.path.read_bytes()
        with pytest.raises(ControlPlaneError, match="holds a control plane already"):
            ControlPlane.start(tmp_path / "plane")


def test_a_failed_start_shows_the_log_and_leaves_no_process(tmp_path: Path) -> None:
    """The message has the component, the path and the end of its log, and no process of the control plane remains."""
    with pytest.raises(ProcessError, match=r"apiserver ended with code 1 (?s:.)*apiserver\.log(?s:.)*--no-such-flag"):
        ControlPlane.start(tmp_path / "plane", options=Options(apiserver_args=("--no-such-flag",)))
    assert "apiserver" in [path.stem for path in (tmp_path / "plane").glob("*.log")]
    assert not processes_with(tmp_path / "plane")


PARENT_PROGRAM = """
import json, signal
from tests.controlplane import Component, ControlPlane
with ControlPlane.start() as plane:
    plane.freeze("scheduler")
    pids = [plane.process(component).pid for component in Component]
    print(json.dumps([str(plane.folder), pids]), flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_remains_when_the_parent_ends(tmp_path: Path, number: signal.Signals) -> None:
    """After SIGKILL, SIGINT or SIGTERM to the parent process, no process and no temporary folder remains."""
    log = tmp_path / "parent.log"
    parent = ManagedProcess(
        "parent",
        [sys.executable, "-c", PARENT_PROGRAM],
        log=log,
        cwd=Path(__file__).parents[2],
        ready=lambda: "[" in log.read_text(),
        timeout=60,
    ).start()
    folder, pids = json.loads(log.read_text())
    assert all(is_alive(pid) for pid in pids)
    os.kill(parent.pid, number)
    parent.wait()
    wait_for(lambda: not any(map(is_alive, pids)), what="the end of all components")
    wait_for(lambda: not Path(folder).exists(), what="the temporary folder to be removed")
    assert not processes_with(Path(folder))


def pods(plane: ControlPlane, app: str) -> list[dict[str, dict[str, object]]]:
    """Return the pods of a Deployment."""
    listed = json.loads(plane.kubectl("get", "pods", "-l", f"app={app}", "-o", "json").stdout)
    items: list[dict[str, dict[str, object]]] = listed["items"]
    return items


def processes_with(folder: Path) -> list[str]:
    """Return the command lines of all processes that have a folder in their arguments."""
    listing = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(folder) in line and not line.startswith("Z")]
