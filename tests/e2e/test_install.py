"""The commands of docs/install.md, as printed, on a real API server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from kubernetes import client, config

from tests.controlplane import ControlPlane
from tests.controlplane.polling import wait_for
from tests.e2e.objects import run, template_annotations
from tests.rollonce import ROOT, Installation, SelfManaged
from tests.valkey import Valkey

pytestmark = pytest.mark.cluster

GUIDE: Final = (ROOT / "docs" / "install.md").read_text()
OVERLAYS: Final = ROOT / "deploy" / "overlays"
CLUSTER_SCOPED: Final = (
    "clusterroles,clusterrolebindings,flowschemas,prioritylevelconfigurations,"
    "mutatingwebhookconfigurations,validatingwebhookconfigurations"
)
#: Everything of rollonce, besides what is in its namespace.
LEFT: Final = f"{CLUSTER_SCOPED},namespaces,roles,rolebindings"


def section(heading: str) -> str:
    """Return a section of the guide, without those below it."""
    return re.split(r"^##+ ", GUIDE.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]


def commands(heading: str) -> list[str]:
    """Return the commands of a section, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", section(heading), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if not line.startswith("#")]


def shell(plane: ControlPlane, *lines: str) -> str:
    """Run command lines as they are printed, with `rollonce` and `kubectl` on the PATH; each must end with 0."""
    path = f"{Path(sys.executable).parent}:{plane.programs.kubectl.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(plane.kubeconfig), "PYTHONPATH": str(ROOT)}
    output = ""
    for line in lines:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", line],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        output += done.stdout
    return output


def kustomized(plane: ControlPlane, folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization."""
    return list(yaml.safe_load_all(plane.kubectl("kustomize", str(folder)).stdout))


def names(objects: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return kind and name of each object, sorted."""
    return sorted((one["kind"], one["metadata"]["name"]) for one in objects)


def left(plane: ControlPlane) -> str:
    """Return the names of what is left of rollonce outside of its namespace."""
    return plane.kubectl("get", LEFT, "-A", "-l", "app.kubernetes.io/name=rollonce", "-o", "name").stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane, because the manifests are for a whole cluster."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        running.kubectl("apply", "-f", ROOT / "tests" / "e2e" / "crd.yaml")
        yield running


def test_an_installation_in_another_namespace_is_complete(cluster: ControlPlane, tmp_path: Path) -> None:
    """Nothing of it is in the usual namespace; webhooks, rights and FlowSchema fit; an uninstall leaves nothing."""
    cluster.kubectl("create", "namespace", "shop")
    shell(cluster, *commands("Install in another namespace"))
    assert cluster.kubectl("get", "namespace", "rollonce", check=False).returncode == 1
    for name in ("rollonce", "rollonce-controller"):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", "delivery", "--timeout=60s")
    # The webhooks are those that the settings there lead to.
    settings = yaml.safe_load(cluster.get("configmap", "rollonce", "delivery")["data"]["settings.yaml"])
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    check = f"rollonce webhooks --check --namespace=delivery --config={tmp_path / 'settings.yaml'}"
    assert shell(cluster, check) == "Differences: 0.\n"
    # The store is found in the namespace of the pods.
    host = re.fullmatch(r"redis://([^.:]+):6379/0", settings["redis"]["url"])
    assert host is not None
    cluster.get("service", host[1], "delivery")
    (rule,) = cluster.get("flowschema", "rollonce")["spec"]["rules"]
    assert {subject["serviceAccount"]["namespace"] for subject in rule["subjects"]} == {"delivery"}
    for account, verb, resource, where in (
        ("rollonce", "get", "secrets", "shop"),
        ("rollonce", "update", "configmaps/rollonce-state", "delivery"),
        ("rollonce", "get", "mutatingwebhookconfigurations/rollonce", "delivery"),
        ("rollonce-controller", "patch", "deployments", "shop"),
        ("rollonce-controller", "patch", "validatingwebhookconfigurations/rollonce", "delivery"),
    ):
        account_name = f"system:serviceaccount:delivery:{account}"
        cluster.kubectl("auth", "can-i", verb, resource, f"--as={account_name}", "-n", where)
    uninstall = [
        line.replace("deploy/manifests/access", "deploy/overlays/another-namespace/access").replace(
            "-k deploy/manifests ", "-k deploy/overlays/another-namespace "
        )
        for line in commands("Uninstall")
        if "namespaced" not in line and "-n rollonce" not in line
    ]
    assert len(uninstall) == 4
    assert shell(cluster, uninstall[-1]) != ""
    *removals, listing = uninstall
    shell(cluster, *removals)
    assert shell(cluster, listing) == ""
    assert left(cluster) == ""
    # Again: what is gone already is no failure.
    shell(cluster, *removals)
    cluster.kubectl("delete", "namespace", "shop")


def test_two_parts_are_the_whole(cluster: ControlPlane) -> None:
    """The cluster-scoped part and the namespaced part have each object once, and each only its own."""
    whole = kustomized(cluster, ROOT / "deploy" / "manifests")
    wide = kustomized(cluster, OVERLAYS / "cluster-scoped")
    narrow = kustomized(cluster, OVERLAYS / "namespaced")
    assert names(wide + narrow) == names(whole)
    assert [one for one in wide if one["metadata"].get("namespace")] == []
    assert [one for one in narrow if one["metadata"].get("namespace") != "rollonce"] == []
    documented = section("What an administrator must apply")
    for one in wide:
        assert one["kind"] in documented or one["kind"] == "Namespace"


def test_rights_in_the_namespace_are_enough_for_the_second_part(cluster: ControlPlane) -> None:
    """After the administrator's part, an account with the ClusterRole `admin` there applies and deletes the rest."""
    administrator, owner = commands("What an administrator must apply")
    shell(cluster, administrator)
    cluster.kubectl("create", "serviceaccount", "owner", "-n", "rollonce")
    cluster.kubectl(
        "create", "rolebinding", "owner", "--clusterrole=admin", "--serviceaccount=rollonce:owner", "-n=rollonce"
    )
    # The role `admin` is put together from others by a controller; rights on Leases are not in it everywhere.
    for verbs, resource in (("get,update,create", "leases.coordination.k8s.io"),):
        cluster.kubectl("create", "role", "leases", f"--verb={verbs}", f"--resource={resource}", "-n=rollonce")
        cluster.kubectl(
            "create", "rolebinding", "leases", "--role=leases", "--serviceaccount=rollonce:owner", "-n=rollonce"
        )
    as_owner = " --as=system:serviceaccount:rollonce:owner"
    shell(cluster, owner + as_owner)
    cluster.kubectl("rollout", "status", "deployment/rollonce", "-n", "rollonce", "--timeout=60s")
    first, second = (line for line in commands("Uninstall") if "namespaced" in line or "-n rollonce" in line)
    shell(cluster, first + as_owner, second + as_owner)
    remaining = cluster.kubectl("get", "all,secrets,leases,pvc", "-n", "rollonce", "-o", "name").stdout
    assert [name for name in remaining.split() if not name.startswith("pod/")] == []
    shell(cluster, "kubectl delete -k deploy/overlays/cluster-scoped --ignore-not-found")
    assert left(cluster) == ""


@pytest.fixture(scope="module")
def installation(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Apply the overlay with an operator's list, and start real programs with its settings.

    They replace the pods, which do nothing here. The webhooks are registered for them by the command of the guide.
    """
    overlay, *_ = commands("Install with an operator's list")
    shell(cluster, overlay)
    cluster.kubectl("delete", "-f", ROOT / "deploy" / "manifests" / "webhooks.yaml")
    settings = (f"--config={OVERLAYS / 'operator-list' / 'settings.yaml'}",)
    folder = tmp_path_factory.mktemp("listed")
    with (
        Valkey.start(folder / "valkey") as store,
        Installation.start(
            cluster,
            folder / "programs",
            redis_url=store.url,
            settings=("--drain=0s",),
            register=False,
            managed=SelfManaged("rollonce", settings=settings),
        ) as running,
    ):
        yield running


def test_an_operators_list_from_nothing_to_a_rollout(cluster: ControlPlane, installation: Installation) -> None:
    """A Deployment without annotations gets its checksum, and rolls when only the Secret changes."""
    _, *example = commands("Install with an operator's list")
    render = next(line for line in example if line.startswith("rollonce webhooks"))
    example = example[: example.index("cd deploy/overlays/operator-list")]
    identity = " ".join(installation.identity)
    printed = render.partition(" > ")[0].replace("settings.yaml", "deploy/overlays/operator-list/settings.yaml")
    shell(cluster, f"{printed} {identity} | kubectl apply -f -")
    *example, change, follow = example
    shell(cluster, *example)
    before = template_annotations(cluster, "shop")
    shell(cluster, change)
    wait_for(lambda: template_annotations(cluster, "shop") != before, what="the checksum to change")
    shell(cluster, follow)
    deployment = cluster.get("deployment", "web", "shop")
    assert set(template_annotations(cluster, "shop")) == {"checksum/secret.database"}
    assert deployment["status"]["updatedReplicas"] == 1


def test_the_printed_configurations_are_those_of_the_overlay(cluster: ControlPlane) -> None:
    """What kustomize makes of the overlay is what the programs expect."""
    printed = list(
        yaml.safe_load_all(
            shell(cluster, *[" && ".join(commands("Install with an operator's list")[-2:]).partition(" > ")[0]])
        )
    )
    made = [
        one for one in kustomized(cluster, OVERLAYS / "operator-list") if one["kind"].endswith("WebhookConfiguration")
    ]

    def by_name(configurations: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {webhook["name"]: webhook for one in configurations for webhook in one["webhooks"]}

    assert by_name(made) == by_name(printed)


def test_the_recipe_for_clients_gets_the_one_run(cluster: ControlPlane, installation: Installation) -> None:
    """As printed: the second submission returns the name of the first one's run, and a name that is taken is raised."""
    assert installation.replicas
    (recipe,) = re.findall(r"```python\n(.*?)```", section("Recipe for clients"), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(recipe, "recipe", "exec"), scope)  # noqa: S102 - it is ours
    submit: Callable[..., str] = partial(scope["submit"], seconds=60)
    with config.new_client_from_config(str(cluster.kubeconfig)) as connection:
        api = client.CustomObjectsApi(connection)
        first = submit(api, "shop", run("one-delivery", name="first"))
        assert (first, submit(api, "shop", run("one-delivery", name="second"))) == ("first", "first")
        with pytest.raises(client.ApiException) as caught:
            submit(api, "shop", run("another-delivery", name="first"))
        assert json.loads(caught.value.body)["reason"] == "AlreadyExists"


def test_a_key_with_two_slashes_is_refused(cluster: ControlPlane) -> None:
    """As the guide says, with the message of the API server."""
    done = cluster.kubectl(
        "annotate", "namespace", "default", "checksum/secret/database=a", "--dry-run=server", check=False
    )
    assert done.returncode == 1
    assert "a valid annotation key" in done.stderr or 'Invalid value: "checksum/secret/database"' in done.stderr
    key = section("Why is the key `checksum/secret.<name>`")
    assert '"checksum/secret/database"' in key
