"""Least privilege: the controller works with the rights of each mode, and cannot read anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.controllers import Controller, Workloads
from tests.e2e.objects import config_map, deployment, secret
from tests.rollonce import command
from tests.webhook.checksums.test_rights import LEASES

pytestmark = pytest.mark.cluster

KEY = "checksum/secret.db"
#: For each mode, the arguments of `rollonce rbac`, and the objects that must not be readable.
MODES = {
    "names": (("--secrets=db", "--configmaps=app"), ("secret/other", "configmap/other", "secrets")),
    "namespaces": ((), ()),
    "cluster": ((), ()),
}


@pytest.mark.parametrize("mode", MODES)
def test_the_controller_works_with_only_the_rights_of_its_mode(
    plane: ControlPlane, namespace: str, tmp_path: Path, mode: str
) -> None:
    """No request of the controller is forbidden, and requests beyond the rights of the mode are."""
    given, forbidden = MODES[mode]
    where = () if mode == "cluster" else ("-n", namespace)
    rights = command("rbac", "--mode", mode, *where, "--accounts-in", namespace, *given)
    for account in ("rollonce", "rollonce-controller"):
        plane.kubectl("create", "serviceaccount", account, "-n", namespace)
    plane.kubectl("apply", "-f", "-", input=rights)
    plane.kubectl("apply", "-n", namespace, "-f", "-", input=LEASES.replace("NAMESPACE", namespace))
    kubeconfig = plane.kubeconfig_for("rollonce-controller", namespace)
    user = f"system:serviceaccount:{namespace}:rollonce-controller"
    objects = [secret("db", a="1"), secret("other", a="1"), config_map("app", a="1"), config_map("other", a="1")]
    plane.apply([*objects, deployment(secrets="db", configmaps="app")], namespace=namespace)
    shop = Workloads(plane, namespace)
    watched = ("--rollout-checksums-watch-secrets=db", "--rollout-checksums-watch-config-maps=app")
    since = plane.audit.offset()
    place = "" if mode == "cluster" else namespace
    arguments = (
        f"--dedupe-namespaces={place}",
        f"--rollout-checksums-access={mode}",
        *(watched if mode == "names" else ()),
    )
    try:
        with Controller.start(plane, tmp_path, namespace, *arguments, kubeconfig=kubeconfig) as controller:
            plane.apply(secret("db", a="2"), namespace=namespace)
            shop.wait_for_checksums(KEY, shop.current("secret", "db"))
            controller.is_idle()
            plane.wait_for(lambda: "ConfigChanged" in plane.kubectl("get", "events", "-n", namespace).stdout)
    finally:
        if mode == "cluster":
            plane.kubectl("delete", "-f", "-", input=rights)
    events = list(plane.audit.events(since=since, user=user))
    assert events
    assert [event.request_uri for event in events if event.response_status.code == 403] == []
    if mode != "cluster":
        assert (
            "orbidden"
            in plane.kubectl("get", "secrets", "-n", "kube-system", kubeconfig=kubeconfig, check=False).stderr
        )
    for target in forbidden:
        refused = plane.kubectl("get", target, "-n", namespace, kubeconfig=kubeconfig, check=False)
        assert "orbidden" in refused.stderr
    for verb in ("create", "update", "patch", "delete"):
        can_i = ("auth", "can-i", verb, "secrets", "-n", namespace, f"--as={user}")
        assert plane.kubectl(*can_i, check=False).stdout.strip() == "no"
