"""A real release: helm installs, upgrades and removes it, and its pods are processes with what was rendered."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.chart.generation import CHART
from tests.chart.pods import LocalNode
from tests.chart.runbook import RUNBOOK, commands_in_pods
from tests.chart.service import ServiceProxy
from tests.controlplane import ControlPlane
from tests.controlplane.options import Options
from tests.e2e.load import Load, failed_calls
from tests.e2e.objects import RUNS, deployment, run, secret, template_annotations
from tests.rollonce import RUN_CRD

pytestmark = pytest.mark.cluster

NAMESPACE = "rollonce"
SERVED = "shop"
INSTALL = (
    *("rollonce", CHART, "--namespace", NAMESPACE, "--wait", "--timeout=100s"),
    # With the password, records and duplicates also show that both sides read it.
    *("--set", "valkey.passwordSecret.name=valkey"),
    *("--set", f"dedupe.namespaces={{{SERVED}}},rolloutChecksums.watchNamespaces={{{SERVED}}}"),
)
KEY = "checksum/secret.database"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """Start a control plane whose one node runs the pods of the release, and install the release."""
    folder = tmp_path_factory.mktemp("installed")
    with ServiceProxy(folder) as service:
        options = Options(nodes=0, apiserver_args=(f"--egress-selector-config-file={service.configuration}",))
        with ControlPlane.start(folder / "plane", options=options) as plane:
            for namespace in (NAMESPACE, SERVED):
                plane.kubectl("create", "namespace", namespace)
            plane.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
            plane.kubectl("apply", "-f", RUN_CRD)
            plane.apply(secret("valkey", password="battery-staple"), namespace=NAMESPACE)
            with LocalNode(plane, folder, NAMESPACE, service) as running:
                plane.helm("install", *INSTALL)
                yield running
                assert running.problem is None


@pytest.fixture
def plane(node: LocalNode) -> ControlPlane:
    """Return the control plane of the release."""
    return node.plane


def submit(plane: ControlPlane, delivery: str, name: str) -> str:
    """Create a run; return an empty text, or the message of the refusal."""
    created = plane.kubectl("create", "-n", SERVED, "-f", "-", input=json.dumps(run(delivery, name=name)), check=False)
    return created.stderr if created.returncode else ""


def test_a_rollout_and_a_refused_duplicate(plane: ControlPlane) -> None:
    """A changed Secret rolls the Deployment that names it, and a second run of a delivery is refused."""
    plane.apply([secret("database", password="one"), deployment(secrets="database", replicas=0)], namespace=SERVED)
    first = template_annotations(plane, SERVED)[KEY]
    plane.apply([secret("database", password="two")], namespace=SERVED)
    plane.wait_for(lambda: template_annotations(plane, SERVED)[KEY] != first, what="the rollout by the controller")
    assert submit(plane, "d-1", "one") == ""
    assert "AlreadyExists" in submit(plane, "d-1", "two")


def test_the_commands_for_operators_work_in_a_server(plane: ControlPlane, node: LocalNode) -> None:
    """Those of the notes and of the runbook end with 0, with the rights of the pod."""
    notes = plane.helm("get", "notes", "rollonce", "-n", NAMESPACE).stdout
    commands = {*commands_in_pods(notes), *commands_in_pods(RUNBOOK)}
    assert {" ".join(command.split()[:3]) for command in commands} >= {"rollonce certs status", "rollonce runs verify"}
    for command in sorted(commands):
        done = node.execute(command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_helm_test_tries_the_release_and_leaves_nothing(plane: ControlPlane) -> None:
    """It makes a rollout and refuses a duplicate, and deletes what it has made, with an account of its own."""
    since = plane.audit.offset()
    plane.helm("test", "rollonce", "-n", NAMESPACE, "--timeout=120s")
    account = f"system:serviceaccount:{NAMESPACE}:rollonce-test"
    answers = [
        (event.verb, event.object_ref.resource, event.response_status.code)
        for event in plane.audit.events(since=since, user=account)
    ]
    assert ("create", "orchestrationruns", 409) in answers
    assert ("patch", "secrets", 200) in answers
    kinds = "serviceaccount,configmap,role,rolebinding,job,secret,deployment,orchestrationrun"
    assert "rollonce-test" not in plane.kubectl("get", kinds, "-A", "-o", "name").stdout


def test_no_request_of_the_release_is_forbidden(plane: ControlPlane) -> None:
    """What was rendered gives the programs all rights that they use."""
    own = [event for event in plane.audit.events() if event.user.username.startswith("system:serviceaccount:rollonce:")]
    assert {event.user.username.rpartition(":")[2] for event in own} >= {"rollonce", "rollonce-controller"}
    assert [event for event in own if event.response_status.code == 403] == []


def test_an_upgrade_restarts_the_programs_and_keeps_the_data(plane: ControlPlane, node: LocalNode) -> None:
    """Records, the CA, the state and the bundles outlive an upgrade under load, and a rollback; no call fails."""
    assert submit(plane, "d-2", "kept") == ""
    plane.kubectl("delete", RUNS, "kept", "-n", SERVED)
    # A server keeps the keys that it does not know.
    plane.kubectl("patch", "configmap", "rollonce-state", "-n", NAMESPACE, "--patch", '{"data": {"kept": "yes"}}')
    kept = data(plane)
    assert all(kept.values())
    before, failed = set(node.pods), failed_calls(plane)
    change = "controllers.env.vars.JANGAR_ORCHESTRATION_DEDUPE_RETENTION_DAYS=30,dedupe.strict=true"
    with Load(plane, SERVED, writers=5) as load:
        plane.helm("upgrade", *INSTALL, "--set", change)
        # Valkey is not touched; the old servers end after they have drained.
        plane.wait_for(lambda: before & set(node.pods) == {"rollonce-valkey-0"}, timeout=60, what="only new pods")
    assert load.failures == {}
    assert failed_calls(plane) == failed
    assert data(plane) == kept
    assert "AlreadyExists" in submit(plane, "d-2", "again")
    plane.kubectl("delete", "pod", "rollonce-valkey-0", "-n", NAMESPACE)
    plane.kubectl("rollout", "status", "statefulset/rollonce-valkey", "-n", NAMESPACE, "--timeout=60s")
    plane.wait_for(lambda: "AlreadyExists" in submit(plane, "d-2", "again"), timeout=60, what="the record after it")
    plane.helm("rollback", "rollonce", "1", "-n", NAMESPACE, "--wait", "--timeout=100s")
    assert data(plane) == kept


def data(plane: ControlPlane) -> dict[str, object]:
    """Return what the programs have written into objects of the release, without what changes by itself."""
    kinds = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")
    bundles = {
        kind: [webhook["clientConfig"].get("caBundle") for webhook in plane.get(kind, "rollonce")["webhooks"]]
        for kind in kinds
    }
    state = plane.get("configmap", "rollonce-state", NAMESPACE)
    return {
        "state": (state["metadata"]["uid"], state["data"]["kept"]),
        "ca": plane.get("secret", "rollonce-ca", NAMESPACE).get("data"),
        "volume": plane.get("pvc", "data-rollonce-valkey-0", NAMESPACE)["metadata"]["uid"],
        **bundles,
    }


def test_a_gitops_tool_sees_no_drift(plane: ControlPlane) -> None:
    """A render that is applied again would change nothing, not even what the programs have written."""
    rendered = plane.helm("template", *INSTALL[:4], *INSTALL[6:], "--no-hooks").stdout
    arguments = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")

    def same() -> bool:
        diff = plane.kubectl("diff", *arguments, "-f", "-", input=rendered, check=False)
        assert (diff.returncode, diff.stdout) == (0, "")
        return True

    # While the pods of the rollback end, the status of a disruption budget can change between the two reads of a diff.
    plane.wait_for(same, timeout=30, what="no difference")


def test_an_uninstallation_leaves_nothing(plane: ControlPlane, node: LocalNode) -> None:
    """Also with dead servers: the webhook configurations go first, by a short-lived account, then everything else."""
    since = plane.audit.offset()
    plane.kubectl("scale", "deployment/rollonce", "--replicas=0", "-n", NAMESPACE)
    plane.wait_for(lambda: not any("https" in pod.ports for pod in node.pods.values()), what="the servers to be gone")
    assert "failed calling webhook" in submit(plane, "d-3", "three")
    tested = plane.helm("test", "rollonce", "-n", NAMESPACE, "--timeout=60s", check=False)
    assert tested.returncode == 1
    logs = [path.read_text() for path in node.folder.glob("rollonce-test-*/log")]
    problem = "error: The Deployment was created without a checksum: the webhook was not called.\n"
    assert [log for log in logs if log.startswith("error: ")] == [problem]
    plane.helm("uninstall", "rollonce", "-n", NAMESPACE, "--wait", "--timeout=100s")
    assert submit(plane, "d-1", "after") == ""
    account = f"system:serviceaccount:{NAMESPACE}:rollonce-uninstall"
    deleted = [event for event in plane.audit.events(since=since, user=account) if event.verb == "delete"]
    assert {event.object_ref.resource for event in deleted if event.response_status.code == 200} == {
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
    }
    plane.wait_for(lambda: remains(plane) == [], timeout=60, what="everything to be gone")


def remains(plane: ControlPlane) -> list[str]:
    """Return all objects in the cluster that have the label or the name of the release, of every kind."""
    kinds = plane.kubectl("api-resources", "--verbs=list", "-o", "name").stdout.split()
    listed = [kind for kind in kinds if not kind.startswith(("events", "componentstatuses"))]
    found = plane.kubectl("get", ",".join(listed), "-A", "-o", "json").stdout
    return [
        f"{item['kind']} {item['metadata']['name']}"
        for item in json.loads(found)["items"]
        if "rollonce" in item["metadata"].get("labels", {}).get("app.kubernetes.io/name", "")
        or ("rollonce" in item["metadata"]["name"] and item["kind"] not in {"Namespace", "PersistentVolume"})
    ]
