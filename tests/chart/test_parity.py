"""The chart and deploy/manifests are the same objects, but for the differences that are listed here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart.conftest import Object, Render, find, is_hook
from tests.controlplane import ControlPlane
from tests.rollonce import ROOT, command
from webhook.app import Application
from webhook.features import FEATURES

pytestmark = pytest.mark.cluster

MANIFESTS: Final = ROOT / "deploy" / "manifests"
#: What the settings of deploy/manifests say.
VALUES: Final = ("--set", "dedupe.namespaces={default},rolloutChecksums.watchNamespaces={default}")
#: Labels of a chart, and the instance, which tells releases apart.
CHART_LABELS: Final = frozenset(
    {"helm.sh/chart", *(f"app.kubernetes.io/{key}" for key in ("instance", "managed-by", "version"))}
)
#: Created empty by the chart, so that an uninstallation removes them and no program may create any.
ONLY_CHART: Final = {("Lease", "rollonce-controller"), ("Secret", "rollonce-ca")}
ONLY_MANIFESTS: Final = {("Namespace", "rollonce")}


def test_the_same_objects(plane: ControlPlane, render: Render) -> None:
    """By default, each object of the chart is that of deploy/manifests, and there is no other one."""
    ours, theirs = by_name(rendered(render)), by_name(of_manifests(plane))
    assert ours.keys() - theirs.keys() == ONLY_CHART
    assert theirs.keys() - ours.keys() == ONLY_MANIFESTS
    for key in sorted(ours.keys() & theirs.keys()):
        assert chart_object(ours[key]) == manifests_object(theirs[key]), key


def test_the_same_settings(plane: ControlPlane, render: Render, tmp_path: Path) -> None:
    """Both settings files lead to the same value of each setting."""
    application = Application(FEATURES)
    values = []
    for number, manifests in enumerate((rendered(render), of_manifests(plane))):
        path = tmp_path / f"{number}.yaml"
        path.write_text(find(manifests, "ConfigMap", "rollonce")["data"]["settings.yaml"])
        settings = application.catalogue.resolve({}, config=path)
        values.append({setting.name: settings[setting] for setting in application.catalogue.settings})
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("--set", "rolloutChecksums.enabled=true,rolloutChecksums.secrets={database}"),
        ("--set", "rolloutChecksums.enabled=true,rolloutChecksums.namespaces={shop,bank}"),
    ],
    ids=["no list", "a list for our namespace", "a list"],
)
@pytest.mark.parametrize("release", ["rollonce", "delivery"])
def test_the_webhooks_are_those_of_the_settings(
    render: Render, tmp_path: Path, release: str, values: tuple[str, ...]
) -> None:
    """What is registered is what `rollonce webhooks` prints for the rendered settings: otherwise no server is ready."""
    manifests = render(*values, release=release, namespace="elsewhere")
    name = release if release == "rollonce" else f"{release}-rollonce"
    path = tmp_path / "settings.yaml"
    path.write_text(find(manifests, "ConfigMap", name)["data"]["settings.yaml"])
    printed = list(yaml.safe_load_all(command("webhooks", f"--config={path}", "--namespace=elsewhere")))
    assert without_chart_labels(webhooks(manifests)) == printed


def test_the_rights_are_those_of_the_command(render: Render) -> None:
    """The rules are those that `rollonce rbac` prints, for namespaces, for the cluster, and by name."""
    cases = {
        ("--mode=namespaces", "-n", "default"): VALUES,
        ("--mode=cluster",): ("--set", "rbac.clusterScoped=true"),
        ("--mode=names", "-n", "default", "--secrets=a,b", "--configmaps=c"): (
            *VALUES,
            "--set=rolloutChecksums.watchSecrets={b,a},rolloutChecksums.watchConfigMaps={c}",
        ),
        # By name, a resource without names gets no rule, which would allow all of them.
        ("--mode=names", "-n", "default", "--secrets=a"): (*VALUES, "--set=rolloutChecksums.watchSecrets={a}"),
    }
    for arguments, values in cases.items():
        printed = by_name(yaml.safe_load_all(command("rbac", *arguments)))
        ours = by_name(without_chart_labels(render(*values)))
        assert {key: ours[key] for key in ours if key[1].endswith("-access")} == printed


def rendered(render: Render) -> list[Object]:
    """Return the objects of the chart, except those of an uninstallation."""
    return [manifest for manifest in render(*VALUES) if not is_hook(manifest)]


def of_manifests(plane: ControlPlane) -> list[Object]:
    """Return the objects of deploy/manifests with the rights for one namespace."""
    access = yaml.safe_load_all(plane.kubectl("kustomize", MANIFESTS / "access").stdout)
    served = [{**one, "metadata": {**one["metadata"], "namespace": "default"}} for one in access]
    return [*yaml.safe_load_all(plane.kubectl("kustomize", MANIFESTS).stdout), *served]


def by_name(manifests: Iterable[Object]) -> dict[tuple[str, str], Object]:
    """Return objects by kind and name."""
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}


def webhooks(manifests: list[Object]) -> list[Object]:
    """Return the webhook configurations."""
    found = [manifest for manifest in manifests if manifest["kind"].endswith("WebhookConfiguration")]
    return sorted(found, key=lambda manifest: str(manifest["kind"]))


def without_chart_labels(node: Any) -> Any:
    """Return a copy without the labels that only a chart has, also in selectors."""
    if isinstance(node, dict):
        return {key: without_chart_labels(value) for key, value in node.items() if key not in CHART_LABELS}
    return [without_chart_labels(item) for item in node] if isinstance(node, list) else node


def chart_object(manifest: Object) -> Object:
    """Return an object of the chart without what deploy/manifests leave to defaults."""
    made: Object = without_chart_labels(manifest)
    if made["kind"] == "ConfigMap" and made["metadata"]["name"] == "rollonce":
        made.pop("data")  # compared by its meaning
    template = made.get("spec", {}).get("template")
    if template:
        # Restarts the programs when a setting changes.
        template["metadata"].pop("annotations", None)
        for container in template["spec"]["containers"]:
            container.pop("imagePullPolicy")
    if made["kind"] == "StatefulSet":
        assert made["spec"].pop("persistentVolumeClaimRetentionPolicy") == {
            "whenDeleted": "Delete",
            "whenScaled": "Retain",
        }
    return made


def manifests_object(manifest: Object) -> Object:
    """Return an object of deploy/manifests without the right to create what the chart installs empty."""
    made: Object = without_chart_labels(manifest)
    if made["kind"] == "ConfigMap" and made["metadata"]["name"] == "rollonce":
        made.pop("data")
    if made["kind"] == "Role":
        made["rules"] = [rule for rule in made["rules"] if rule["verbs"] != ["create"]]
    return made
