"""The manifests on a real API server: they can be applied, and the server works with only their rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import ledger
from tests.controlplane import ControlPlane
from tests.e2e.objects import deployment, run, secret, template_annotations
from tests.e2e.submitting import wait_until_synced
from tests.rollonce import ROOT, Installation
from tests.valkey import Valkey
from webhook.dedupe.settings import STATE

MANIFESTS = ROOT / "deploy" / "manifests"
NAMESPACE = "rollonce"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:rollonce"
SERVED = "default"
#: Rights outside of any namespace: the account may read its own configurations.
CLUSTER_RIGHTS = {
    (f"{kind}webhookconfigurations.admissionregistration.k8s.io", "get") for kind in ("mutating", "validating")
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane, because the manifests are for a whole cluster."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        running.kubectl("apply", "-f", ROOT / "tests" / "e2e" / "crd.yaml")
        running.kubectl("apply", "-k", MANIFESTS)
        running.kubectl("apply", "-k", MANIFESTS / "access", "-n", SERVED)
        # The Service of the manifests has no server here: the tests register their own server.
        running.kubectl("delete", "-f", MANIFESTS / "webhooks.yaml")
        yield running


@pytest.fixture(scope="module")
def server(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Start the server as the ServiceAccount of the manifests."""
    folder = tmp_path_factory.mktemp("served")
    settings = yaml.safe_load((MANIFESTS / "settings.yaml").read_text())["data"]["settings.yaml"]
    (folder / "settings.yaml").write_text(settings)
    with (
        Valkey.start(folder / "valkey") as store,
        Installation.start(
            cluster,
            folder / "servers",
            redis_url=store.url,
            kubeconfig=cluster.kubeconfig_for("rollonce", NAMESPACE),
            settings=(f"--config={folder / 'settings.yaml'}",),
        ) as running,
    ):
        yield running


def test_the_manifests_cause_no_drift(cluster: ControlPlane) -> None:
    """After an apply, `kubectl diff` finds no difference, so a GitOps tool shows no drift."""
    configurations = MANIFESTS / "webhooks.yaml"
    cluster.kubectl("apply", "-f", configurations)
    diff = cluster.kubectl("diff", "-k", MANIFESTS, check=False)
    cluster.kubectl("delete", "-f", configurations)
    assert (diff.returncode, diff.stdout) == (0, "")


def test_the_pods_are_admitted_and_become_ready(cluster: ControlPlane) -> None:
    """Pods satisfy the restricted policy of their namespace; Valkey's pod waits for a volume, which is missing here."""
    for workload in ("deployment/rollonce", "deployment/rollonce-controller"):
        cluster.kubectl("rollout", "status", workload, "-n", NAMESPACE, "--timeout=60s")
    cluster.kubectl("wait", "--for=create", "pod/rollonce-valkey-0", "-n", NAMESPACE, "--timeout=60s")


@pytest.mark.parametrize("name", ["rollonce", "rollonce-controller"])
def test_one_replica_of_each_program_stays_when_nodes_are_drained(cluster: ControlPlane, name: str) -> None:
    """Of two replicas, one may be evicted; the budget counts those of its own program only."""
    budget = f"poddisruptionbudget/{name}"
    condition = "--for=jsonpath={.status.disruptionsAllowed}=1"
    cluster.kubectl("wait", condition, budget, "-n", NAMESPACE, "--timeout=60s")
    status = cluster.get("poddisruptionbudget", name, NAMESPACE)["status"]
    assert (status["expectedPods"], status["desiredHealthy"]) == (2, 1)


def test_the_server_has_the_rights_that_it_needs(cluster: ControlPlane, server: Installation) -> None:
    """Checksums, deduplication and the rebuild of the store work, and the audit log has no forbidden request."""
    since = cluster.audit.offset()
    cluster.apply([secret("database", password="one"), deployment(secrets="database")], namespace=SERVED)
    assert set(template_annotations(cluster, SERVED)) == {"checksum/secret.database"}
    for code in (0, 1):
        manifest = json.dumps(run("d-1", name=f"run-{code}"))
        created = cluster.kubectl("create", "-n", SERVED, "-f", "-", input=manifest, check=False)
        assert created.returncode == code, created.stderr
    wait_until_synced(cluster, server)
    assert ledger.entry(cluster)["servers"]
    events = list(cluster.audit.events(since=since, user=ACCOUNT))
    assert events
    assert [event for event in events if event.response_status.code == 403] == []


def test_the_server_has_no_other_rights(cluster: ControlPlane) -> None:
    """The account has exactly these rights in a served namespace and elsewhere."""
    assert allowed(cluster, SERVED) == {
        ("secrets", "get"),
        ("configmaps", "get"),
        ("orchestrationruns.orchestration.proompteng.ai", "get"),
        ("orchestrationruns.orchestration.proompteng.ai", "list"),
        *CLUSTER_RIGHTS,
    }
    assert allowed(cluster, "kube-system") == CLUSTER_RIGHTS
    assert allowed(cluster, NAMESPACE) == {
        *(("secrets", verb) for verb in ("get", "watch", "create")),
        *(("configmaps", verb) for verb in ("get", "update")),
        *CLUSTER_RIGHTS,
    }


@pytest.mark.parametrize(
    ("verb", "name", "answer"),
    [
        ("get", STATE.default, "yes"),
        ("update", STATE.default, "yes"),
        ("patch", STATE.default, "no"),
        ("delete", STATE.default, "no"),
        ("create", "", "no"),
        ("get", "rollonce", "no"),
        ("update", "rollonce", "no"),
    ],
)
def test_the_server_may_write_its_state_and_no_other_object(
    cluster: ControlPlane, verb: str, name: str, answer: str
) -> None:
    """The rights are on the one ConfigMap, which it cannot create: what was deleted must not come back empty."""
    arguments = ("auth", "can-i", verb, f"configmaps/{name}".rstrip("/"), f"--as={ACCOUNT}", "-n", NAMESPACE)
    assert cluster.kubectl(*arguments, check=False).stdout.strip() == answer


@pytest.mark.parametrize(
    ("overlay", "namespace"),
    [
        ("namespaced", "rollonce"),
        ("operator-list", "rollonce"),
        ("another-namespace", "delivery"),
        ("cluster-scoped", None),
    ],
)
def test_the_overlays_have_the_state_and_its_rights(cluster: ControlPlane, overlay: str, namespace: str | None) -> None:
    """Each that installs the server has the ConfigMap without data and the Role for its ServiceAccount."""
    built = list(yaml.safe_load_all(cluster.kubectl("kustomize", ROOT / "deploy" / "overlays" / overlay).stdout))
    found = {
        manifest["kind"]: manifest
        for manifest in built
        if manifest["metadata"]["name"] == STATE.default and manifest["metadata"].get("namespace") == namespace
    }
    assert set(found) == ({"ConfigMap", "Role", "RoleBinding"} if namespace else set())
    if namespace:
        assert set(found["ConfigMap"]) == {"apiVersion", "kind", "metadata"}
        assert found["Role"]["rules"][0]["resourceNames"] == [STATE.default]
        (subject,) = found["RoleBinding"]["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "rollonce", "namespace": namespace}


@pytest.mark.parametrize(
    ("verb", "resource", "namespace"),
    [
        ("list", "secrets", SERVED),
        ("watch", "secrets", SERVED),
        ("update", "secrets", SERVED),
        ("get", "secrets", "kube-system"),
        ("patch", "deployments", SERVED),
        ("create", "orchestrationruns", SERVED),
        ("delete", "orchestrationruns", SERVED),
    ],
)
def test_other_rights_are_denied(cluster: ControlPlane, verb: str, resource: str, namespace: str) -> None:
    """`kubectl auth can-i` denies each right that the server must not have."""
    answer = cluster.kubectl("auth", "can-i", verb, resource, f"--as={ACCOUNT}", "-n", namespace, check=False)
    assert answer.stdout.strip() == "no"


def allowed(cluster: ControlPlane, namespace: str) -> set[tuple[str, str]]:
    """Return the rights of the account that other accounts do not have."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    answer = cluster.kubectl(
        "create", "-f", "-", "--validate=false", "-o", "json", f"--as={ACCOUNT}", input=json.dumps(review)
    )
    found = set()
    for rule in json.loads(answer.stdout)["status"]["resourceRules"]:
        for resource in rule["resources"]:
            group = rule["apiGroups"][0]
            if group in {"authorization.k8s.io", "authentication.k8s.io"}:
                continue
            found |= {(f"{resource}.{group}" if group else resource, verb) for verb in rule["verbs"]}
    return found


def test_the_image_matches_the_manifests() -> None:
    """Entry point, user and ports of the Dockerfile are those of the manifests."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    pod = yaml.safe_load((MANIFESTS / "serve.yaml").read_text())["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert 'ENTRYPOINT ["rollonce"]' in dockerfile
    assert container["args"][0] == "serve"
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in dockerfile
    exposed = dockerfile.partition("EXPOSE ")[2].splitlines()[0].split()
    assert sorted(exposed) == sorted(str(port["containerPort"]) for port in container["ports"])


def test_the_image_copies_existing_files() -> None:
    """Each file that the Dockerfile copies is in the repository and in the build context."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        words = line.split()
        if not words or words[0] != "COPY" or words[1].startswith("--from"):
            continue
        for source in words[1:-1]:
            assert (ROOT / source).exists(), source
            assert any(Path(source).is_relative_to(rule[1:]) for rule in ignore if rule.startswith("!")), source
