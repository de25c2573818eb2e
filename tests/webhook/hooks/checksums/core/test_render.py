"""Checksums without a cluster: what is put in, and that nothing else changes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.hooks.checksums.manifests import A, B, config_map, secret
from webhook.hooks.checksums.core.digest import checksum
from webhook.hooks.checksums.core.facts import Absent, Found, Unreadable
from webhook.hooks.checksums.core.manifests import ManifestError, manifests, parse
from webhook.hooks.checksums.core.optin import OperatorPolicy
from webhook.hooks.checksums.core.render import Rendering
from webhook.hooks.checksums.core.yaml_edit import _CannotEditError, _insertion

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
    """A workload that wants the Secret `db`, with a template written in some way."""
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: shop\n"
        '  annotations: {rollout-checksums.proompteng.ai/secrets: "db"}\n'
        f"spec:\n{template}"
    )


SECRET = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {password: aHVudGVyMg==}\n"


def test_only_the_annotation_is_put_in() -> None:
    """Comments, blanks, quotes and unknown kinds stay as they are."""
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
def test_the_result_means_what_it_should_in_any_form(template: str, shape: str) -> None:
    """However the pod template is written: afterwards it has the annotation and everything that it had."""
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
def test_rendering_twice_is_rendering_once(template: str) -> None:
    """What is there already is left alone."""
    once = Rendering(deployment(template) + SECRET).render().text
    assert Rendering(once).render().text == once


def test_json_stays_json() -> None:
    """A List as `kubectl get -o json` prints it."""
    text = json.dumps({"kind": "List", "apiVersion": "v1", "items": list(yaml.safe_load_all(CHART))[:2]}, indent=4)
    rendered = Rendering(text).render().text
    assert json.loads(rendered)["items"][1]["spec"]["template"]["metadata"]["annotations"] == {KEY: DB}
    assert len(rendered.splitlines()) == len(text.splitlines())


def test_nothing_to_do_changes_no_byte() -> None:
    """Nobody is opted in, or there is nothing at all."""
    for text in ("", "# nothing\n", "---\n---\n", "--- \n...\n", SECRET, "- 1\n- kind: Deployment\n", "just text"):
        rendered = Rendering(text).render()
        assert (rendered.text, rendered.workloads) == (text, ())


@given(text=st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    """It is read or refused."""
    try:
        assert Rendering(text).render().text == text
    except ManifestError as error:
        assert str(error)  # noqa: PT017 - both ends are right


def test_what_is_missing_is_told() -> None:
    """The manifests come out all the same; the caller decides by the complaints."""
    rendering = Rendering(deployment("  template:\n"), namespace="prod")
    assert rendering.elsewhere == {("prod", secret("db"))}
    rendered = rendering.render()
    assert rendered.complaints == ("prod/deployment/shop: secret/db is not among the manifests.",)
    assert rendered.text == deployment("  template:\n")


def test_what_the_cluster_knows_can_be_given() -> None:
    """What is among the manifests goes first."""
    rendering = Rendering(deployment("  template:\n"))
    place = ("default", secret("db"))
    assert rendering.render({place: Found(A)}).workloads[0].checksums == {KEY: A}
    assert rendering.render({place: Absent()}).complaints == (
        "default/deployment/shop: secret/db is not among the manifests.",
    )
    assert rendering.render({place: Unreadable("HTTP 403")}).complaints == (
        "default/deployment/shop: secret/db could not be read (HTTP 403).",
    )
    assert Rendering(CHART).render({place: Found(A)}).workloads[0].checksums == {KEY: DB}


def test_optional_is_not_missing() -> None:
    """As at admission."""
    template = "  template: {spec: {containers: [{envFrom: [{secretRef: {name: db, optional: true}}]}]}}\n"
    assert Rendering(deployment(template)).render().complaints == ()


def test_problems_are_told() -> None:
    """A wrong word is a complaint of its own."""
    text = deployment("  template:\n").replace('"db"', '"db, Db"') + SECRET
    (complaint,) = Rendering(text).render().complaints
    assert '"Db" is not a name' in complaint


def test_namespaces_are_apart() -> None:
    """A Secret of another namespace is another Secret."""
    other = SECRET.replace("{name: db}", "{name: db, namespace: other}")
    assert Rendering(deployment("  template:\n") + other).render().complaints
    assert not Rendering(deployment("  template:\n") + other, namespace="other").render().complaints


def test_the_operators_list_and_the_key_count() -> None:
    """As at admission."""
    text = CHART.replace('secrets: "db"', 'enabled: "true"').replace(
        'image:   "shop:1"', "envFrom: [{secretRef: {name: db}}]"
    )
    policy = OperatorPolicy(enabled=True, namespaces=frozenset({"default"}), sources={secret("db"): None})
    assert Rendering(text).render().workloads == ()
    assert Rendering(text, policy=policy).render().workloads[0].checksums == {KEY: DB}
    keyed = checksum({"password": "aHVudGVyMg=="}, None, key=b"k")
    assert Rendering(CHART, key=b"k").render().workloads[0].checksums == {KEY: keyed}


def test_provided_checksums_are_taken_as_they_are() -> None:
    """Nothing has to be among the manifests for them."""
    text = deployment("  template:\n").replace('"db"', f'"db={B}"')
    rendering = Rendering(text)
    assert rendering.elsewhere == frozenset()
    assert rendering.render().workloads[0].checksums == {KEY: B}


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_kinds(kind: str) -> None:
    """By the same code."""
    assert Rendering(deployment("  template:\n", kind) + SECRET).render().workloads[0].checksums == {KEY: DB}


def test_a_kind_of_that_name_in_another_group_is_left_alone() -> None:
    """Only `apps/v1` has our pod templates, only `v1` our Secrets."""
    text = deployment("  template:\n").replace("apps/v1", "example.com/v1")
    assert Rendering(text + SECRET).render().workloads == ()
    assert Rendering(deployment("  template:\n") + SECRET.replace("v1", "other/v1")).render().complaints


def test_diff() -> None:
    """It shows the lines that were put in, and is empty if there are none."""
    rendering = Rendering(CHART)
    shown = rendering.diff(rendering.render())
    assert [line for line in shown.splitlines() if line.startswith("+")] == [
        "+++ rendered",
        "+      annotations:",
        f'+        {KEY}: "{DB}"',
    ]
    assert Rendering(SECRET).diff(Rendering(SECRET).render()) == ""


def test_what_would_roll() -> None:
    """The keys by which a live pod template differs."""
    (workload,) = Rendering(CHART).render().workloads
    assert workload.would_roll({KEY: DB, "other": "x"}) == ()
    assert workload.would_roll({KEY: A}) == (KEY,)
    assert workload.would_roll({}) == (KEY,)


def contents(text: str) -> tuple[Any, Any]:
    """The contents of the single object of a text."""
    (manifest,) = manifests(parse(text)[1])
    return manifest.contents()


class TestContents:
    """What the API server would give back."""

    def test_string_data_goes_over_data(self) -> None:
        """As base64 of its UTF-8."""
        text = "kind: Secret\ndata: {a: eA==, b: eA==}\nstringData: {b: ä, c: ''}\n"
        b = base64.b64encode("ä".encode()).decode()
        assert contents(text) == ({"a": "eA==", "b": b, "c": ""}, None)

    def test_base64_is_written_anew(self) -> None:
        """People break it into lines; the API server does not keep those."""
        text = "kind: Secret\ndata:\n  a: |\n    aHVu\n    dGVy\n"
        assert contents(text) == ({"a": "aHVudGVy"}, None)

    def test_a_config_map_has_text_and_binary_data(self) -> None:
        """Text as it is; dates and a lone `=` are text in Kubernetes' eyes."""
        text = "kind: ConfigMap\ndata: {a: 2024-01-01, b: =, c: , d: '1'}\nbinaryData: {e: eA==}\n"
        assert contents(text) == ({"a": "2024-01-01", "b": "=", "c": "", "d": "1"}, {"e": "eA=="})

    @pytest.mark.parametrize("field", ["data: {}", "data:", "x: y", "stringData: {}"])
    def test_empty_is_none(self, field: str) -> None:
        """The API server stores no empty map."""
        assert contents(f"kind: Secret\n{field}\n") == (None, None)
        assert contents(f"kind: ConfigMap\n{field}\n") == (None, None)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("kind: ConfigMap\nmetadata: {name: c}\ndata: {a: 1}", 'ConfigMap "c": data.a has to be a string'),
            ("kind: ConfigMap\nmetadata: {name: c}\ndata: {a: yes}", 'ConfigMap "c": data.a has to be a string'),
            ("kind: Secret\nmetadata: {name: s}\ndata: {a: hunter2!}", 'Secret "s": data.a is not base64'),
            ("kind: Secret\nmetadata: {name: s}\ndata: [hunter2]", 'Secret "s": data has to be a map'),
        ],
    )
    def test_what_the_api_server_would_refuse_is_refused(self, text: str, message: str) -> None:
        """With the object's name and field, and without the value."""
        with pytest.raises(ManifestError, match=message) as caught:
            contents(text)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b\n---\na: [hunter2\n", "line 4, column 1"),
        ("a: b\n---\n\na: !hunter2 x\n", "line 4, column 4"),
        ("\x00", "not YAML"),
        ("a: *hunter2\n", "line 1, column 4"),
        ("{[]: x}\n", "line 1, column 2"),
        (
            deployment("  template: {spec: {containers: hunter2}}\n"),
            'Deployment "shop": The pod template cannot be read',
        ),
        (deployment("  template:\n  paused: hunter2\n"), 'Deployment "shop": Expected `bool'),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str) -> None:
    """With the place, and without quoting what may be secret."""
    with pytest.raises(ManifestError, match=message.replace("[", r"\[")) as caught:
        Rendering(text)
    assert "hunter2" not in str(caught.value)


def test_references_to_config_maps() -> None:
    """ConfigMaps by the same code."""
    text = deployment("  template:\n").replace("secrets", "configmaps").replace('"db"', '"app"')
    app = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {a: b}\n"
    assert Rendering(text).elsewhere == {("default", config_map("app"))}
    assert Rendering(text + app).render().workloads[0].checksums == {
        "checksum/configmap.app": checksum({"a": "b"}, None)
    }


def test_a_list_that_comes_by_a_merge_key() -> None:
    """Nothing can be put in place there: the document is written anew, with the same meaning."""
    item = json.dumps(yaml.safe_load(deployment("  template:\n")))
    text = f"x: &x\n  items: [{item}]\n<<: *x\nkind: List\napiVersion: v1\n" + SECRET
    after, _ = yaml.safe_load_all(Rendering(text).render().text)
    assert after["items"][0]["spec"]["template"]["metadata"]["annotations"] == {KEY: DB}
    assert after["x"]["items"][0] == json.loads(item)


def test_nothing_can_be_put_into_what_is_no_map() -> None:
    """The editor says so instead of guessing."""
    with pytest.raises(_CannotEditError):
        _insertion(yaml.ScalarNode("tag:yaml.org,2002:str", "text"), {"a": "b"})
