"""Checksums at admission, with real kubectl against a real API server."""

from __future__ import annotations

import hashlib
import json

import jq
import pytest

from tests.controlplane import ControlPlane
from tests.e2e.objects import PREFIX, config_map, deployment, secret, template_annotations
from tests.rollonce import Installation

pytestmark = pytest.mark.usefixtures("installation")

SECRET_KEY = "checksum/secret.database"
CONFIG_KEY = "checksum/configmap.settings"


def computed_checksum(plane: ControlPlane, kind: str, name: str, namespace: str) -> str:
    """Return the checksum of an object, computed as documented, from the output of kubectl by jq and SHA-256."""
    printed = plane.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout
    canonical = jq.compile("{data, binaryData}").input_text(printed).first()
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode() + b"\n").hexdigest()


@pytest.fixture
def shop(plane: ControlPlane, namespace: str) -> str:
    """Create a Secret and a ConfigMap, and return their namespace."""
    objects = [secret("database", password="one"), config_map("settings", color="blue")]
    plane.apply(objects, namespace=namespace)
    return namespace


WEB = deployment(secrets="database", configmaps="settings")


def expected(plane: ControlPlane, namespace: str) -> dict[str, str]:
    """Return the annotations that the pod template must have now."""
    return {
        SECRET_KEY: computed_checksum(plane, "secret", "database", namespace),
        CONFIG_KEY: computed_checksum(plane, "configmap", "settings", namespace),
    }


@pytest.mark.parametrize(
    "arguments", [("create", "-f", "-"), ("apply", "-f", "-"), ("apply", "--server-side", "-f", "-")]
)
def test_a_new_deployment_gets_its_checksums(plane: ControlPlane, shop: str, arguments: tuple[str, ...]) -> None:
    """For each way to create a Deployment, its template gets the checksums and the workload lists the managed keys."""
    plane.kubectl(*arguments, "-n", shop, input=json.dumps(WEB))
    assert template_annotations(plane, shop) == expected(plane, shop)
    metadata = plane.get("deployment", "web", shop)["metadata"]
    assert set(metadata["annotations"][PREFIX + "managed"].replace(",", " ").split()) == {SECRET_KEY, CONFIG_KEY}


def test_server_side_apply_causes_no_drift(plane: ControlPlane, shop: str) -> None:
    """Two applies give one generation, no field manager owns the checksums, and the diff is empty."""
    manifest = json.dumps(WEB)
    apply = ("apply", "--server-side", "--field-manager=argocd-controller", "-n", shop, "-f", "-")
    plane.kubectl(*apply, input=manifest)
    before = plane.get("deployment", "web", shop)
    plane.kubectl(*apply, input=manifest)
    after = json.loads(
        plane.kubectl("get", "deployment", "web", "-n", shop, "--show-managed-fields", "-o", "json").stdout
    )
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1
    assert "checksum/" not in json.dumps(after["metadata"]["managedFields"])
    diff = plane.kubectl(
        "diff", "--server-side", "--field-manager=argocd-controller", "-n", shop, "-f", "-", input=manifest, check=False
    )
    assert (diff.returncode, diff.stdout) == (0, "")


def test_a_second_client_side_apply_changes_nothing(plane: ControlPlane, shop: str) -> None:
    """The second `kubectl apply` prints "unchanged" and causes no rollout."""
    plane.apply(WEB, namespace=shop)
    assert "unchanged" in plane.apply(WEB, namespace=shop).stdout
    assert plane.get("deployment", "web", shop)["metadata"]["generation"] == 1


def test_replace_keeps_the_checksums(plane: ControlPlane, shop: str) -> None:
    """`kubectl replace` without the checksums gets them again, so there is no rollout."""
    plane.apply(WEB, namespace=shop)
    before = plane.get("deployment", "web", shop)["spec"]["template"]
    plane.kubectl("replace", "-n", shop, "-f", "-", input=json.dumps(WEB))
    after = plane.get("deployment", "web", shop)
    assert after["spec"]["template"] == before
    assert after["metadata"]["annotations"][PREFIX + "managed"]


def test_each_write_updates_the_checksums(plane: ControlPlane, shop: str) -> None:
    """After a change of a Secret, a label, a patch and an annotation each update the checksum."""
    plane.apply(WEB, namespace=shop)
    commands = (
        ("label", "deployment", "web", "a=b"),
        ("patch", "deployment", "web", "--type=merge", "-p", '{"spec":{"minReadySeconds":1}}'),
        ("annotate", "deployment", "web", "note=x"),
    )
    for number, command in enumerate(commands):
        plane.apply(secret("database", password=f"changed-{number}"), namespace=shop)
        plane.kubectl(*command, "-n", shop)
        assert template_annotations(plane, shop) == expected(plane, shop)


def test_scaling_calls_no_webhook(plane: ControlPlane, installation: Installation, shop: str) -> None:
    """The scale subresource calls no webhook and changes no pod template."""
    plane.apply(WEB, namespace=shop)
    before = template_annotations(plane, shop)
    calls = installation.metric("rollonce_admission_requests_total", webhook="deployments")
    plane.apply(secret("database", password="two"), namespace=shop)
    plane.kubectl("scale", "deployment", "web", "--replicas=3", "-n", shop)
    assert template_annotations(plane, shop) == before
    assert installation.metric("rollonce_admission_requests_total", webhook="deployments") == calls


def test_undo_of_a_config_change_gives_a_warning(plane: ControlPlane, shop: str) -> None:
    """An undo to a revision that differs only in checksums changes nothing, and a Warning says so."""
    plane.apply(WEB, namespace=shop)
    plane.kubectl("rollout", "status", "deployment/web", "-n", shop, "--timeout=60s")
    plane.apply(secret("database", password="two"), namespace=shop)
    plane.kubectl("label", "deployment", "web", "a=b", "-n", shop)
    plane.kubectl("rollout", "status", "deployment/web", "-n", shop, "--timeout=60s")
    undone = plane.kubectl("rollout", "undo", "deployment/web", "-n", shop)
    assert "Warning:" in undone.stderr
    assert template_annotations(plane, shop) == expected(plane, shop)


def test_undo_of_an_image_keeps_the_checksums_current(plane: ControlPlane, shop: str) -> None:
    """After an undo the template has the old image and the current checksums."""
    plane.apply(WEB, namespace=shop)
    plane.kubectl("rollout", "status", "deployment/web", "-n", shop, "--timeout=60s")
    plane.kubectl("set", "image", "deployment/web", "web=web:2", "-n", shop)
    plane.kubectl("rollout", "status", "deployment/web", "-n", shop, "--timeout=60s")
    plane.apply(secret("database", password="two"), namespace=shop)
    plane.kubectl("rollout", "undo", "deployment/web", "-n", shop)
    template = plane.get("deployment", "web", shop)["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "web:1"
    assert template_annotations(plane, shop) == expected(plane, shop)


@pytest.mark.parametrize("mode", ["server", "client"])
def test_a_dry_run_stores_nothing(plane: ControlPlane, shop: str, mode: str) -> None:
    """A server-side dry run returns the checksums, a client-side dry run does not, and neither stores an object."""
    shown = plane.apply(WEB, f"--dry-run={mode}", "-o", "json", namespace=shop)
    template = json.loads(shown.stdout)["items"][0]["spec"]["template"] if "items" in json.loads(shown.stdout) else None
    template = template or json.loads(shown.stdout)["spec"]["template"]
    annotations = template["metadata"].get("annotations", {})
    assert annotations == (expected(plane, shop) if mode == "server" else {})
    assert plane.kubectl("get", "deployment", "web", "-n", shop, check=False).returncode != 0


def test_opting_out_removes_only_the_managed_keys(plane: ControlPlane, shop: str) -> None:
    """A checksum that another tool manages stays when a workload opts out."""
    web = deployment(secrets="database", configmaps="settings")
    web["spec"]["template"]["metadata"]["annotations"] = {"checksum/config": "unmanaged"}
    plane.apply(web, namespace=shop)
    assert template_annotations(plane, shop) == expected(plane, shop) | {"checksum/config": "unmanaged"}
    plane.kubectl("annotate", "deployment", "web", f"{PREFIX}secrets-", f"{PREFIX}configmaps-", "-n", shop)
    assert template_annotations(plane, shop) == {"checksum/config": "unmanaged"}
    assert PREFIX + "managed" not in plane.get("deployment", "web", shop)["metadata"].get("annotations", {})


def test_a_name_that_is_dropped_loses_its_key(plane: ControlPlane, shop: str) -> None:
    """If a name is removed from the opt-in, its key is removed and the other keys stay."""
    plane.apply(WEB, namespace=shop)
    plane.kubectl("annotate", "deployment", "web", f"{PREFIX}configmaps-", "-n", shop)
    assert template_annotations(plane, shop) == {SECRET_KEY: expected(plane, shop)[SECRET_KEY]}


def test_a_missing_object_gives_a_warning(plane: ControlPlane, shop: str) -> None:
    """The Deployment is admitted without that key, and a Warning names the missing object."""
    applied = plane.apply(deployment(secrets="database, absent"), namespace=shop)
    assert "Warning:" in applied.stderr
    assert "absent" in applied.stderr
    assert template_annotations(plane, shop) == {SECRET_KEY: expected(plane, shop)[SECRET_KEY]}


def test_a_workload_without_opt_in_is_not_sent(plane: ControlPlane, installation: Installation, shop: str) -> None:
    """The webhook is not called for a Deployment without opt-in annotations."""
    calls = installation.metric("rollonce_admission_requests_total", webhook="deployments")
    plane.apply(deployment("plain"), namespace=shop)
    assert template_annotations(plane, shop, "plain") == {}
    assert installation.metric("rollonce_admission_requests_total", webhook="deployments") == calls


def test_metadata_does_not_change_the_checksum(plane: ControlPlane, shop: str) -> None:
    """A label on the Secret changes no checksum and causes no rollout."""
    plane.apply(WEB, namespace=shop)
    before = template_annotations(plane, shop)
    plane.kubectl("label", "secret", "database", "a=b", "-n", shop)
    plane.kubectl("label", "deployment", "web", "a=b", "-n", shop)
    assert template_annotations(plane, shop) == before
    assert plane.get("deployment", "web", shop)["metadata"]["generation"] == 1
