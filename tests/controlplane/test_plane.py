"""The shared control plane works like a cluster."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from pathlib import Path

import pytest

from tests.controlplane import CommandError, ControlPlane


def deployment(name: str, *, replicas: int = 1) -> dict[str, object]:
    """Return a minimal Deployment."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def test_versions_are_the_pinned_ones(plane: ControlPlane) -> None:
    """Server and client report the pinned version."""
    version = json.loads(plane.kubectl("version", "-o", "json").stdout)
    assert version["serverVersion"]["gitVersion"] == version["clientVersion"]["gitVersion"] == "v1.35.4"
    assert version["serverVersion"]["minor"] == "35"


def test_pods_become_ready_and_a_rollout_ends(plane: ControlPlane, namespace: str) -> None:
    """`rollout status` ends when each pod is Ready on a node, which needs all components."""
    plane.apply(deployment("web", replicas=3), namespace=namespace)
    plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    assert plane.get("deployment", "web", namespace)["status"]["readyReplicas"] == 3


def test_apply_accepts_yaml_and_objects(plane: ControlPlane, namespace: str) -> None:
    """Manifests can be a YAML text, one object, or several objects."""
    plane.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", namespace=namespace)
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("b", "c", "d")]
    plane.apply(maps[0], namespace=namespace)
    plane.apply(maps[1:], "--server-side", namespace=namespace)
    found = plane.kubectl("get", "configmap", "-n", namespace, "-o", "name").stdout.split()
    assert {f"configmap/{name}" for name in "abcd"} <= set(found)


def test_a_failed_command_raises_with_its_output(plane: ControlPlane, namespace: str) -> None:
    """The error has the command and the server's reason; without `check` the result is returned."""
    with pytest.raises(CommandError, match=r"get configmap missing .*NotFound"):
        plane.get("configmap", "missing", namespace)
    result = plane.kubectl("get", "configmap", "missing", "-n", namespace, check=False)
    assert result.returncode == 1
    assert "NotFound" in result.stderr


def test_a_command_that_hangs_is_killed(plane: ControlPlane, namespace: str) -> None:
    """A command that takes longer than its timeout is killed."""
    with pytest.raises(CommandError, match="was killed after 1 s"):
        plane.kubectl("get", "configmap", "--watch", "-n", namespace, timeout=1)


def test_a_service_account_has_the_rights_of_its_role(plane: ControlPlane, namespace: str) -> None:
    """The kubeconfig of a ServiceAccount authenticates it, and RBAC applies to it."""
    plane.kubectl("create", "serviceaccount", "robot", "-n", namespace)
    kubeconfig = plane.kubeconfig_for("robot", namespace)
    who = json.loads(plane.kubectl("auth", "whoami", "-o", "json", kubeconfig=kubeconfig).stdout)
    assert who["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:robot"
    assert "Forbidden" in plane.kubectl("get", "secrets", kubeconfig=kubeconfig, check=False).stderr
    plane.kubectl("create", "role", "reader", "--verb=list", "--resource=secrets", "-n", namespace)
    plane.kubectl(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:robot", "-n", namespace
    )
    allowed = plane.wait_for(
        lambda: plane.kubectl("get", "secrets", kubeconfig=kubeconfig, check=False).returncode == 0,
        what="the role to apply",
    )
    assert allowed


@pytest.mark.parametrize(("path", "status"), [("/readyz", 200), ("/livez", 200), ("/version", 401), ("/api", 401)])
def test_anonymous_requests_can_only_read_health(plane: ControlPlane, path: str, status: int) -> None:
    """A request without credentials gets 200 on health endpoints and 401 elsewhere."""
    port = int(plane.url.rpartition(":")[2])
    trust = ssl.create_default_context(cafile=str(plane.authority))
    with closing(http.client.HTTPSConnection("127.0.0.1", port, context=trust)) as connection:
        connection.request("GET", path)
        assert connection.getresponse().status == status


def test_the_audit_log_can_be_filtered(plane: ControlPlane, namespace: str) -> None:
    """Requests since an offset are found by user, verb, resource and namespace."""
    plane.kubectl("create", "configmap", "before", "-n", namespace)
    since = plane.audit.offset()
    plane.kubectl("create", "configmap", "after", "-n", namespace)
    (event,) = plane.audit.events(since=since, user="admin", verb="create", resource="configmaps", namespace=namespace)
    assert event.object_ref.name == "after"
    assert event.response_status.code == 201
    assert not list(plane.audit.events(since=since, user="unknown"))
    assert not list(plane.audit.events(since=since, resource="configmaps/status", namespace=namespace))


def test_controllers_have_separate_users_in_the_audit_log(plane: ControlPlane, namespace: str) -> None:
    """Each controller acts as its own ServiceAccount, as in a production cluster."""
    since = plane.audit.offset()
    plane.apply(deployment("web"), namespace=namespace)
    plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    controller = "system:serviceaccount:kube-system:deployment-controller"
    assert list(plane.audit.events(since=since, user=controller, verb="create", resource="replicasets"))


def test_helm_installs_a_chart(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The real helm renders for the pinned version of Kubernetes, and installs."""
    chart = tmp_path / "tiny"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\nkubeVersion: '>=1.35.0'\n")
    (chart / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"
        'data: {version: "{{ .Capabilities.KubeVersion.Version }}"}\n'
    )
    plane.helm("install", "first", chart, "--namespace", namespace)
    assert plane.get("configmap", "first", namespace)["data"] == {"version": "v1.35.4"}
    rendered = plane.helm("template", "first", chart).stdout
    assert "v1.35" in rendered
