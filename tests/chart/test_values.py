"""Each value of the chart: what it leads to, that the API server accepts it, and what a wrong one is answered by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.cases import CASES, Case
from tests.chart.conftest import Object, Render, find
from tests.chart.generation import CHART
from tests.chart.values_table import documented
from tests.controlplane import ControlPlane
from webhook.app import Application
from webhook.features import FEATURES

pytestmark = pytest.mark.cluster

#: Those of prometheus-operator and cert-manager (both Apache-2.0), without descriptions.
CRDS = Path(__file__).parent / "crds"
CLUSTER_KINDS = {"ClusterRole", "ClusterRoleBinding", "FlowSchema", "PriorityLevelConfiguration"}


@pytest.fixture(scope="module")
def prepared(plane: ControlPlane) -> Iterator[ControlPlane]:
    """Return the shared control plane with the kinds and namespaces that the chart's objects need."""
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("rollonce", "shop", "bank")
    ]
    plane.apply(namespaces)
    plane.kubectl("apply", "--server-side", "-f", CRDS)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", CRDS)
    yield plane
    plane.kubectl("delete", "-f", CRDS)
    plane.kubectl("delete", "namespace", "rollonce", "shop", "bank", "--wait=false")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_value_has_its_effect(prepared: ControlPlane, render: Render, tmp_path: Path, case: Case) -> None:
    """It is rendered where it belongs, the API server accepts all objects, and the programs accept the settings."""
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(case.values))
    manifests = render("--values", str(values))
    for where, expected in case.expected.items():
        assert look_up(manifests, where) == expected, where
    there = {name for manifest in manifests for name in names(manifest)}
    assert set(case.present) <= there
    assert not set(case.absent) & there
    prepared.apply(manifests, "--dry-run=server")
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap" and "settings.yaml" in manifest.get("data", {}):
            (tmp_path / "settings.yaml").write_text(manifest["data"]["settings.yaml"])
            Application(FEATURES).catalogue.resolve({}, config=tmp_path / "settings.yaml")


def test_only_cluster_scoped_objects_and_all_others_are_everything(render: Render) -> None:
    """What an administrator installs and what is installed in the namespace are the whole release without the hook."""
    parts = [render("--set", f"clusterObjects={scope}", "--no-hooks") for scope in ("only", "omit")]
    for part, expected in zip(parts, (True, False), strict=True):
        assert {is_cluster_scoped(manifest) for manifest in part} == {expected}
    assert sorted(map(json.dumps, parts[0] + parts[1])) == sorted(map(json.dumps, render("--no-hooks")))


def test_every_value_has_a_case_and_a_comment() -> None:
    """The cases set every value, and every value is documented."""
    text = (CHART / "values.yaml").read_text()
    tested = {path for case in CASES.values() for path in leaves(case.values)}
    commented = {path for path, _, _ in documented(text)}
    for path in leaves(yaml.safe_load(text)):
        assert any(path == one or path.startswith(f"{one}.") for one in commented), path
    for path in commented:
        assert any(one == path or one.startswith(f"{path}.") for one in tested), path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("dedupe.retentionDay=3", "at '/dedupe': additional properties 'retentionDay' not allowed"),
        ("dedupes.retentionDays=3", "at '': additional properties 'dedupes' not allowed"),
        ("dedupe.retentionDays=week", "at '/dedupe/retentionDays': got string, want number"),
        ("dedupe.retentionDays=400", "at '/dedupe/retentionDays': maximum: got 400, want 365"),
        ("dedupe.onRedisDown=stop", "at '/dedupe/onRedisDown': value must be one of 'generated', 'deny', 'allow'"),
        ("rolloutChecksums.enabled=yes", "at '/rolloutChecksums/enabled': got string, want boolean"),
        ("rolloutChecksums.secrets=database", "at '/rolloutChecksums/secrets': got string, want array"),
        ("rolloutChecksums.namespaces={Shop}", "at '/rolloutChecksums/namespaces/0': 'Shop' does not match pattern"),
        ("controllers.env.vars.RETENTION=3", "at '/controllers/env/vars': additional properties 'RETENTION'"),
        ("settings.log.levle=debug", "at '/settings/log': additional properties 'levle' not allowed"),
        ("settings.redis.url=redis://x", "additional properties 'redis' not allowed"),
        ("certs.mode=vault", "at '/certs/mode': value must be one of 'self-managed', 'cert-manager', 'secret'"),
        ("serve.replicas=0", "at '/serve/replicas': minimum: got 0, want 1"),
        ("redis.url=http://redis", "at '/redis/url': 'http://redis' does not match pattern"),
        ("redis.url=redis://:word@redis/0", "put the URL into a Secret and name it in redis.existingSecret"),
        ("redis.url=redis://a,redis.existingSecret.name=b", "Give either redis.url or redis.existingSecret."),
        ("networkPolicy.enabled=true", "networkPolicy.enabled needs networkPolicy.apiServerCIDRs"),
        ("rbac.clusterScoped=true,rolloutChecksums.watchNamespaces={a}", "With rbac.clusterScoped all namespaces"),
    ],
)
def test_a_wrong_value_is_refused(plane: ControlPlane, given: str, message: str) -> None:
    """The message names the value and what is allowed."""
    refused = plane.helm("template", "rollonce", CHART, "--set", given, check=False)
    assert refused.returncode == 1
    assert message in refused.stderr


def test_helm_lint_finds_nothing(plane: ControlPlane) -> None:
    """The chart has no finding, not even a recommendation."""
    assert "[" not in plane.helm("lint", "--strict", CHART).stdout


def test_the_programs_restart_for_settings_but_not_for_the_list(render: Render) -> None:
    """A change of a setting changes the pods; one of the operator's list does not, because it is read again."""
    listed = ("--set", "rolloutChecksums.enabled=true,rolloutChecksums.secrets={a}")
    pods = [
        find(manifests, "Deployment", "rollonce")["spec"]["template"]
        for manifests in (
            render(*listed),
            render(*listed, "--set", "rolloutChecksums.configMaps={b}"),
            render(*listed, "--set", "dedupe.strict=true"),
        )
    ]
    assert pods[0] == pods[1]
    assert pods[0] != pods[2]


def test_the_notes_name_the_next_commands(prepared: ControlPlane) -> None:
    """They name what exists, and what a GitOps tool has to ignore."""
    notes = prepared.helm(
        "install", "rollonce", CHART, "-n", "rollonce", "--dry-run=server", "--set", "dedupe.namespaces={shop}"
    ).stdout.partition("NOTES:")[2]
    assert "kubectl rollout status deployment/rollonce -n rollonce" in notes
    assert "rollonce certs status --config=/etc/rollonce/settings.yaml" in notes
    assert "rollout-checksums.proompteng.ai/secrets=SECRET" in notes
    assert "runs in shop." in notes
    blocks = yaml.safe_load(notes[notes.index("  ignoreDifferences:") :])["ignoreDifferences"]
    assert [block["kind"] for block in blocks] == ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]


def look_up(manifests: Sequence[Object], where: str) -> object:
    """Return a value by `Kind/name:path`, or by `Kind/namespace/name:path`."""
    title, _, path = where.partition(":")
    kind, *space, name = title.split("/")
    node: Any = find(manifests, kind, name, *space)
    keys = path.split(".")
    if keys[0] == "settings":
        node, keys = yaml.safe_load(node["data"]["settings.yaml"]), keys[1:]
    while keys:
        if isinstance(node, list):
            node = node[int(keys.pop(0))]
            continue
        # A key can contain dots.
        node = node[keys.pop(0)]
    return node


def names(manifest: Object) -> tuple[str, str]:
    """Return the names by which a case can name an object."""
    kind, metadata = manifest["kind"], manifest["metadata"]
    return f"{kind}/{metadata['name']}", f"{kind}/{metadata.get('namespace', '')}/{metadata['name']}"


def is_cluster_scoped(manifest: Object) -> bool:
    """Return whether an object is in no namespace."""
    kind = manifest["kind"]
    return kind in CLUSTER_KINDS or kind.endswith("WebhookConfiguration")


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the path of each value that is no map."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
