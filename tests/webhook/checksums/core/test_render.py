"""Checksums without a cluster: what is added, and that nothing else changes."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.manifests import A, B, config_map, secret
from webhook.checksums.core.digest import checksum
from webhook.checksums.core.inputs import Absent, Found, Unreadable
from webhook.checksums.core.manifests import ManifestError
from webhook.checksums.core.optin import OperatorPolicy
from webhook.checksums.core.render import Rendering
from webhook.checksums.core.yaml_edit import _CannotEditError, _insertion

KEY = "checksum/secret.db"
DB = checksum({"password": "aHVudGVyMg=="}, None)

CHART = """\
# Source: shop/templates/secret.yaml
apiVersion: v1
kind: Secret
metadata:
  name: db   # the database
stringData: {password: hunter2}
---
# Source: shop/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  annotations:
    rollout-checksums.proompteng.ai/secrets: "db"
spec:
  replicas: 2
  template:
    metadata:
      labels: {app: shop}     # as ever
    spec:
      containers:
      - name: shop
        image:   "shop:1"
---
apiVersion: example.com/v1
kind: Widget
spec: [1, 2,   3]
...
"""


def deployment(template: str, kind: str = "Deployment") -> str:
    """Return a workload that requires the Secret `db`, with this text of its pod template."""
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: shop\n"
        '  annotations: {rollout-checksums.proompteng.ai/secrets: "db"}\n'
        f"spec:\n{template}"
    )


SECRET = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {password: aHVudGVyMg==}\n"


def test_only_the_annotation_is_added() -> None:
    """Comments, blanks, quotes and unknown kinds do not change."""
    rendered = Rendering(CHART).render()
    added = f'      annotations:\n        {KEY}: "{DB}"\n'
    assert rendered.text == CHART.replace("      labels: {app", added + "      labels: {app")
    assert rendered.complaints == ()
    (workload,) = rendered.workloads
    assert (str(workload.id), workload.checksums) == ("default/deployment/shop", {KEY: DB})


TEMPLATES = [
    "  template:\n    metadata:\n      annotations:\n        a: b # c\n    spec: {}\n",
    "  template:\n    metadata:\n      annotations: {}\n",
    "  template:\n    metadata:\n      annotations: {a: b}\n",
    "  template:\n    metadata:\n      annotations:\n    spec: {}\n",
    "  template:\n    metadata:\n      annotations: # nothing yet\n      labels: {}\n",
    "  template:\n    metadata:\n      annotations: null\n",
    "  template:\n    metadata:\n      annotations: ~\n",
    "  template:\n    metadata:\n",
    "  template:\n    metadata: {}\n    spec: {}\n",
    "  template:\n    spec:\n      containers: []\n",
    "  template: {spec: {containers: []}}\n",
    "  template: {}\n",
    "  template:\n",
    "  replicas: 1\n",
    f'  template: {{"metadata": {{"annotations": {{"{KEY}": "old"}}}}}}\n',
    f"  template:\n    metadata:\n      annotations:\n        {KEY}: old\n        z: |\n          text\n",
    f"  template:\n    metadata:\n      annotations:\n        {KEY}: |\n          old\n",
    f"  template:\n    metadata:\n      annotations:\n        '{KEY}': 'old' # why\n",
    "  template:\n    metadata: &m\n      annotations:\n        a: b\n    spec: {x: *m}\n",
    "  x: &m\n    annotations: {a: b}\n  template:\n    metadata: *m\n",
    "  x: &m\n    annotations: {a: b}\n  template:\n    metadata:\n      <<: *m\n",
    "  template:\n    metadata:\n      annotations:\n        ? a\n        : b\n",
    "  template:\n    metadata:\n      annotations: !!map\n        a: b\n",
    "  template:\n    metadata:\n      annotations: &x {a: b}\n",
    "  template:\n    metadata:\n      annotations: {a: b}\n      annotations: {c: d}\n",
    "  template:\n    metadata:\n      labels: {日本: '\U0001f600'}\n      annotations: {ä: b}\n",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("shape", ["plain", "crlf", "list", "bom"])
def test_the_result_is_right_in_any_form(template: str, shape: str) -> None:
    """For any form of the pod template: afterwards it has the annotation and all that it had before."""
    text = deployment(template)
    if shape == "list":
        lines = text.splitlines(keepends=True)
        text = "kind: List\napiVersion: v1\nitems:\n" + "".join(
            ("- " if number == 0 else "  ") + line for number, line in enumerate(lines)
        )
    text = {"crlf": text.replace("\n", "\r\n"), "bom": "\ufeff" + text}.get(shape, text)
    rendered = Rendering(text + SECRET).render().text
    expected = yaml.safe_load(text)
    item = expected["items"][0] if shape == "list" else expected
    item = json.loads(json.dumps(item))
    spec = item["spec"]
    spec["template"] = spec.get("template") or {}
    spec["template"]["metadata"] = spec["template"].get("metadata") or {}
    annotations = spec["template"]["metadata"].get("annotations") or {}
    spec["template"]["metadata"]["annotations"] = annotations | {KEY: DB}
    after, untouched = yaml.safe_load_all(rendered)
    assert (after["items"][0] if shape == "list" else after) == item
    assert untouched == yaml.safe_load(SECRET)
    assert rendered.endswith(SECRET)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("start", ["", "---\n"])
def test_line_breaks_stay_as_they_are(template: str, start: str) -> None:
    """A stream whose lines end in CR and LF gets no other lines, also where a document is serialized again."""
    text = start + deployment(template) + SECRET
    crlf = Rendering(text.replace("\n", "\r\n")).render().text
    assert crlf == Rendering(text).render().text.replace("\n", "\r\n")


@pytest.mark.parametrize("template", TEMPLATES)
def test_rendering_is_idempotent(template: str) -> None:
    """An entry that exists is not touched."""
    once = Rendering(deployment(template) + SECRET).render().text
    assert Rendering(once).render().text == once


def test_json_stays_json() -> None:
    """For a List as `kubectl get -o json` prints it."""
    text = json.dumps({"kind": "List", "apiVersion": "v1", "items": list(yaml.safe_load_all(CHART))[:2]}, indent=4)
    rendered = Rendering(text).render().text
    assert json.loads(rendered)["items"][1]["spec"]["template"]["metadata"]["annotations"] == {KEY: DB}
    assert len(rendered.splitlines()) == len(text.splitlines())


def test_without_workloads_no_byte_changes() -> None:
    """None is opted in, or there are no manifests at all."""
    for text in ("", "# nothing\n", "---\n---\n", "--- \n...\n", SECRET, "- 1\n- kind: Deployment\n", "just text"):
        rendered = Rendering(text).render()
        assert (rendered.text, rendered.workloads) == (text, ())


@given(text=st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    """It is parsed or rejected."""
    try:
        assert Rendering(text).render().text == text
    except ManifestError as error:
        assert str(error)  # noqa: PT017 - both ends are right


def test_a_missing_source_is_a_complaint() -> None:
    """The manifests are written all the same."""
    rendering = Rendering(deployment("  template:\n"), namespace="prod")
    assert rendering.unresolved == {("prod", secret("db"))}
    rendered = rendering.render()
    (complaint,) = rendered.complaints
    assert complaint.startswith("prod/deployment/shop: secret/db is not among the manifests. Add it to them, read it ")
    assert "db=<64 hex digits> in the annotation rollout-checksums.proompteng.ai/secrets, or in the" in complaint
    assert rendered.text == deployment("  template:\n")


def test_readings_of_a_cluster_are_used() -> None:
    """Sources among the manifests take precedence."""
    rendering = Rendering(deployment("  template:\n"))
    place = ("default", secret("db"))
    assert rendering.render({place: Found(A)}).workloads[0].checksums == {KEY: A}
    assert rendering.render({place: Absent()}).complaints == (
        "default/deployment/shop: secret/db is neither among the manifests nor in the cluster.",
    )
    assert rendering.render({place: Unreadable("HTTP 403")}).complaints == (
        "default/deployment/shop: secret/db could not be read (HTTP 403).",
    )
    assert Rendering(CHART).render({place: Found(A)}).workloads[0].checksums == {KEY: DB}


def test_an_optional_source_is_not_missing() -> None:
    """As at admission."""
    template = "  template: {spec: {containers: [{envFrom: [{secretRef: {name: db, optional: true}}]}]}}\n"
    assert Rendering(deployment(template)).render().complaints == ()


def test_problems_are_complaints() -> None:
    """One for each wrong word."""
    text = deployment("  template:\n").replace('"db"', '"db, Db"') + SECRET
    (complaint,) = Rendering(text).render().complaints
    assert '"Db" is not a name' in complaint


def test_namespaces_are_independent() -> None:
    """A Secret of another namespace is another Secret."""
    other = SECRET.replace("{name: db}", "{name: db, namespace: other}")
    assert Rendering(deployment("  template:\n") + other).render().complaints
    assert not Rendering(deployment("  template:\n") + other, namespace="other").render().complaints


def test_the_operators_list_and_the_key_are_used() -> None:
    """As at admission."""
    text = CHART.replace('secrets: "db"', 'enabled: "true"').replace(
        'image:   "shop:1"', "envFrom: [{secretRef: {name: db}}]"
    )
    policy = OperatorPolicy(enabled=True, namespaces=frozenset({"default"}), sources={secret("db"): None})
    assert Rendering(text).render().workloads == ()
    assert Rendering(text, policy=policy).render().workloads[0].checksums == {KEY: DB}
    keyed = checksum({"password": "aHVudGVyMg=="}, None, key=b"k")
    assert Rendering(CHART, key=b"k").render().workloads[0].checksums == {KEY: keyed}


def test_provided_checksums_are_used_unchanged() -> None:
    """Their sources need not be among the manifests."""
    text = deployment("  template:\n").replace('"db"', f'"db={B}"')
    rendering = Rendering(text)
    assert rendering.unresolved == frozenset()
    assert rendering.render().workloads[0].checksums == {KEY: B}


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_kinds(kind: str) -> None:
    """They are rendered like Deployments."""
    assert Rendering(deployment("  template:\n", kind) + SECRET).render().workloads[0].checksums == {KEY: DB}


def test_a_kind_of_that_name_in_another_group_is_not_changed() -> None:
    """Only workloads of `apps/v1` and Secrets of `v1` count."""
    text = deployment("  template:\n").replace("apps/v1", "example.com/v1")
    assert Rendering(text + SECRET).render().workloads == ()
    assert Rendering(deployment("  template:\n") + SECRET.replace("v1", "other/v1")).render().complaints


def test_diff() -> None:
    """It shows the added lines, and is empty if there are none."""
    rendering = Rendering(CHART)
    shown = rendering.diff(rendering.render())
    assert [line for line in shown.splitlines() if line.startswith("+")] == [
        "+++ rendered",
        "+      annotations:",
        f'+        {KEY}: "{DB}"',
    ]
    assert Rendering(SECRET).diff(Rendering(SECRET).render()) == ""


def test_what_would_roll() -> None:
    """The keys whose checksums differ from those in the cluster."""
    (workload,) = Rendering(CHART).render().workloads
    assert workload.would_roll({KEY: DB, "other": "x"}) == ()
    assert workload.would_roll({KEY: A}) == (KEY,)
    assert workload.would_roll({}) == (KEY,)


def test_references_to_config_maps() -> None:
    """They are handled like Secrets."""
    text = deployment("  template:\n").replace("secrets", "configmaps").replace('"db"', '"app"')
    app = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: b}\n"
    assert Rendering(text).unresolved == {("default", config_map("app"))}
    assert Rendering(text + app).render().workloads[0].checksums == {
        "checksum/configmap.app": checksum({"a": "b"}, None)
    }


def test_a_list_that_comes_by_a_merge_key() -> None:
    """Nothing can be inserted there: the document is serialized again, with the same meaning."""
    item = json.dumps(yaml.safe_load(deployment("  template:\n")))
    text = f"x: &x\n  items: [{item}]\n<<: *x\nkind: List\napiVersion: v1\n" + SECRET
    after, _ = yaml.safe_load_all(Rendering(text).render().text)
    assert after["items"][0]["spec"]["template"]["metadata"]["annotations"] == {KEY: DB}
    assert after["x"]["items"][0] == json.loads(item)


def test_nothing_can_be_inserted_into_a_scalar() -> None:
    """It is an error of the editor, after which the document is serialized again."""
    with pytest.raises(_CannotEditError):
        _insertion(yaml.ScalarNode("tag:yaml.org,2002:str", "text"), {"a": "b"})
