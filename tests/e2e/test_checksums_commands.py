"""`rollonce checksums` and `rollonce render`, as a user calls them, against a real API server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.commands import Result, run
from tests.e2e.controllers import Controller, Workloads, annotations_of, checksum_of, pods_refused
from tests.e2e.objects import PREFIX, Object, config_map, deployment, secret
from tests.e2e.test_controller_waves import impatient, reasons
from tests.e2e.test_controller_waves import rolled as made_current

pytestmark = pytest.mark.cluster

KEY = "checksum/secret.db"


class Shell:
    """Call `rollonce` as an administrator of the cluster.

    Args:
        plane: The control plane.
        settings: The settings file of the commands that look at the cluster; None for those of the programs there.
    """

    def __init__(self, plane: ControlPlane, settings: Path | None = None) -> None:
        self._plane = plane
        self._settings = settings

    def __call__(self, *arguments: str, text: str | None = None, **variables: str) -> Result:
        """Run a command; its exit code is not checked."""
        environment = {**os.environ, "KUBECONFIG": str(self._plane.kubeconfig), **variables}
        config = [f"--config={self._settings}"] if self._settings and arguments[0] == "checksums" else []
        argv = [sys.executable, "-m", "webhook", *arguments, *config]
        return run(argv, input=text, env=environment, check=False, timeout=60)


@pytest.fixture
def rollonce(plane: ControlPlane, tmp_path: Path) -> Shell:
    """Return a function that calls the command line, with the settings of the controllers of these tests."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("rolloutChecksums: {access: cluster, maxConcurrent: 1}")
    return Shell(plane, settings)


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
    explained = rollonce("checksums", "explain", "deployment/web", "--namespace", rolled.namespace)
    assert explained.returncode == 1
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
    shop = made_current(plane, namespace, tmp_path, impatient("a"), impatient("b"))
    refused = rollonce("checksums", "resume", "deployment/b", "-n", namespace)
    assert (refused.returncode, "has not failed" in refused.stderr) == (1, True)
    with (
        Controller.start(plane, tmp_path, namespace, "--rollout-checksums-max-concurrent=1"),
        pods_refused(plane, namespace, KEY, checksum_of(password="two")),
    ):
        plane.apply(secret("db", password="two"), namespace=namespace)
        plane.wait_for(lambda: "RolloutStopped" in reasons(plane, namespace, "a"), what="the wave to stop")
        assert "rollonce checksums resume deployment/a" in reasons(plane, namespace, "a")["RolloutStopped"]
        failed = rollonce("checksums", "status", "-n", namespace)
        assert failed.returncode == 1
        assert ["deployment/a", "current", "failed"] in [line.split()[1:4] for line in failed.stdout.splitlines()]
        assert rollonce("checksums", "resume", "deployment/a", "-n", namespace).returncode == 0
        shop.wait_for_checksums(KEY, shop.current("secret", "db"))
        plane.kubectl("rollout", "pause", "deployment/b", "-n", namespace)
        refused = rollonce("checksums", "resume", "deployment/b", "-n", namespace)
        assert "has not failed: it is paused, and no other workload waits for it" in refused.stderr


def test_a_failed_rollout_is_unhealthy(rolled: Workloads, rollonce: Shell) -> None:
    """Also if the checksums are current."""
    nowhere = '{"spec":{"progressDeadlineSeconds":1,"template":{"spec":{"nodeSelector":{"no":"where"}}}}}'
    rolled.plane.kubectl("patch", "deployment", "web", "-n", rolled.namespace, "-p", nowhere)
    status = ("checksums", "status", "-n", rolled.namespace)
    rolled.plane.wait_for(lambda: "failed" in rollonce(*status).stdout, what="the rollout to fail")
    assert rollonce(*status).returncode == 1
    assert rollonce("checksums", "explain", "deployment/web", "-n", rolled.namespace).returncode == 1


def test_a_table_in_a_file_has_one_line_for_each_workload(plane: ControlPlane, namespace: str, rollonce: Shell) -> None:
    """With all names in full, however narrow the terminal is said to be."""
    names = [f"secret-{number:03}-{'x' * 60}" for number in range(60)]
    plane.apply(deployment("many", secrets=", ".join(names)), namespace=namespace)
    shown = rollonce("checksums", "status", "-n", namespace, COLUMNS="40")
    _, line = shown.stdout.splitlines()
    assert [f"secret/{name} missing" in line for name in names] == [True] * 60


def test_namespaces_are_given_as_to_kubectl(rolled: Workloads, rollonce: Shell) -> None:
    """By -n, --namespace, -A and --all-namespaces, and without one it is `default`."""
    short, long = (rollonce("checksums", "status", option, rolled.namespace).stdout for option in ("-n", "--namespace"))
    assert short == long
    assert rolled.namespace in short
    for option in ("-A", "--all-namespaces"):
        assert rolled.namespace in rollonce("checksums", "status", option).stdout
    assert rolled.namespace not in rollonce("checksums", "status").stdout
    unknown = rollonce("checksums", "explain", "deployment/unknown").stderr
    assert unknown.startswith("rollonce: error: default/deployment/unknown does not exist")
    assert rollonce("checksums", "status", "-A", "-n", rolled.namespace).returncode == 2


def test_a_key_that_an_undo_restores_is_shown_and_can_be_removed(rolled: Workloads, rollonce: Shell) -> None:
    """An undo of a StatefulSet restores the pod template alone: nothing says that the key was one of rollonce."""
    plane, namespace, key = rolled.plane, rolled.namespace, "checksum/secret.db"
    plane.apply(deployment("store", kind="StatefulSet", secrets="db"), namespace=namespace)
    explained = rollonce("checksums", "explain", "sts/store", "-n", namespace, "-o", "json").stdout
    patch = json.dumps(json.loads(explained)["patch"])
    plane.kubectl("patch", "statefulset", "store", "-n", namespace, "--type=json", "-p", patch)
    assert rollonce("checksums", "remove", "sts/store", "-n", namespace).returncode == 0
    plane.kubectl("annotate", "statefulset", "store", f"{PREFIX}secrets-", "-n", namespace)
    # The API server waits for the controller that counts revisions.
    plane.wait_for(
        lambda: len(plane.kubectl("get", "controllerrevisions", "-n", namespace, "-o", "name").stdout.split()) == 2
    )
    plane.kubectl("rollout", "undo", "statefulset/store", "-n", namespace)
    assert key in annotations_of(plane.get("statefulset", "store", namespace))
    explained = rollonce("checksums", "explain", "sts/store", "-n", namespace).stdout
    assert f"{key} is neither wanted nor managed" in explained
    assert "store" not in rollonce("checksums", "status", "-n", namespace).stdout
    removed = rollonce("checksums", "remove", "sts/store", "-n", namespace, "--unmanaged")
    assert f"lost {key}" in removed.stdout
    assert annotations_of(plane.get("statefulset", "store", namespace)) == {}


def controller_of(namespace: str, *, key: str) -> list[Object]:
    """Return the controller's Deployment without pods, with its settings and the Secret of its key."""
    policy = {"enabled": True, "secrets": ["db"], "namespaces": [namespace]}
    watched = {"access": "names", "watchNamespaces": [namespace], "watchSecrets": ["db"]}
    text = json.dumps({"rolloutChecksums": {**policy, **watched, "keyFile": "/etc/key/hmac"}})
    made = deployment("rollonce-controller", replicas=0)
    made["metadata"]["labels"] = {"app.kubernetes.io/name": "rollonce", "app.kubernetes.io/component": "controller"}
    pods = made["spec"]["template"]["spec"]
    pods["containers"][0] |= {
        "args": ["controller", "--config=/etc/rollonce/settings.yaml"],
        "env": [{"name": "ROLLONCE_ROLLOUT_CHECKSUMS_MISSING", "value": "hold"}],
        "volumeMounts": [
            {"name": "settings", "mountPath": "/etc/rollonce"},
            {"name": "key", "mountPath": "/etc/key"},
        ],
    }
    pods["volumes"] = [
        {"name": "settings", "configMap": {"name": "rollonce"}},
        {"name": "key", "secret": {"secretName": "rollonce-key"}},
    ]
    return [config_map("rollonce", **{"settings.yaml": text}), secret("rollonce-key", hmac=key), made]


def test_the_settings_of_the_programs_are_read_from_the_cluster(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The operator's list, the key, the environment, and what is watched; without them, nothing is guessed."""
    rollonce, status = Shell(plane), ("checksums", "status", "-n", namespace)
    unknown = rollonce(*status)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "The settings of rollonce are not known" in unknown.stderr
    assert "--installation" in unknown.stderr
    assert "--config" in unknown.stderr
    key = "0123456789abcdef"
    controller = controller_of(namespace, key=key)
    web = deployment()
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "db"}}]
    other = deployment("other", secrets="another")
    plane.apply([secret("db", password="one"), secret("another", a="b"), web, other, *controller], namespace=namespace)
    (tmp_path / "key").write_text(key)
    settings = json.loads(controller[0]["data"]["settings.yaml"])
    settings["rolloutChecksums"]["keyFile"] = str(tmp_path / "key")
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    shop = Workloads(plane, namespace)
    with Controller.start(plane, tmp_path, namespace, f"--config={tmp_path / 'settings.yaml'}"):
        plane.wait_for(lambda: shop.checksums(KEY)["web"], what="the checksum")
    for more in ((), ("--installation", namespace)):
        shown = rollonce(*status, *more)
        states = {line.split()[1]: line for line in shown.stdout.splitlines()}
        assert "current" in states["deployment/web"]
        assert "secret/another unreadable" in states["deployment/other"]
        assert shown.returncode == 1
    explained = rollonce("checksums", "explain", "deployment/other", "-n", namespace).stdout
    assert "it is not among what is watched" in explained
    new = rollonce("checksums", "explain", "deployment/web", "-n", namespace, "--rollout-checksums-access=bad")
    assert (new.returncode, "--rollout-checksums-access" in new.stderr) == (2, True)
    plane.kubectl("delete", "deployment", "rollonce-controller", "-n", namespace)


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
    absent = rollonce(*arguments, text=json.dumps(deployment(secrets="absent")))
    assert (absent.returncode, "neither among the manifests nor in the cluster" in absent.stderr) == (1, True)


def test_render_reads_what_the_operator_lists(rolled: Workloads, rollonce: Shell, tmp_path: Path) -> None:
    """From the cluster, for a workload that is not opted in by itself; the manifests' namespace is that of `-n`."""
    settings = tmp_path / "list.yaml"
    settings.write_text(json.dumps({"rolloutChecksums": {"enabled": True, "secrets": ["db"]}}))
    web = deployment()
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "db"}}]
    rendered = rollonce(
        "render", "--from-cluster", f"--config={settings}", "-n", rolled.namespace, text=json.dumps(web)
    )
    assert (rendered.returncode, rendered.stderr) == (0, "")
    assert annotations_of(json.loads(rendered.stdout)) == {KEY: rolled.current("secret", "db")}


def test_render_without_a_cluster(rollonce: Shell) -> None:
    """A stream of manifests is rendered with the objects in it, and --diff prints a diff."""
    stream = json.dumps(config_map("app", color="blue")) + "\n---\n" + json.dumps(deployment(configmaps="app")) + "\n"
    shown = rollonce("render", "--diff", text=stream)
    assert shown.returncode == 0
    assert "+" in shown.stdout
    assert "checksum/configmap.app" in shown.stdout
