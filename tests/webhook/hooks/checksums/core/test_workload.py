"""What is read of a workload, and how it is patched."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.hooks.checksums.manifests import Json, applied, manifest, workload
from webhook.errors import MalformedReviewError
from webhook.hooks.checksums.core.workload import LAST_APPLIED, Workload, WorkloadObject

WANTED = {"checksum/secret.db": "1", "a~b/c": "2"}
BARE: list[Json] = [
    {},
    {"metadata": None, "spec": None},
    {"metadata": {}, "spec": {}},
    {"metadata": {"annotations": None}, "spec": {"template": None}},
    {"metadata": {"annotations": {}}, "spec": {"template": {}}},
    {"metadata": {}, "spec": {"template": {"metadata": None, "spec": None}}},
    {"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {}}}},
    {"metadata": {}, "spec": {"template": {"metadata": {"annotations": None}}}},
    {"metadata": {}, "spec": {"template": {"metadata": {"annotations": {}}}}},
]


@pytest.mark.parametrize("tree", BARE)
def test_whatever_is_absent_or_null_reads_as_empty(tree: Json) -> None:
    """No level has to be there."""
    seen = workload(tree)
    assert (seen.annotations, seen.template_annotations, seen.paused, seen.deleting) == ({}, {}, False, False)
    assert (seen.managed, seen.held, seen.says_not_paused) == (frozenset(), False, False)


@pytest.mark.parametrize("tree", BARE)
def test_annotations_can_be_added_whatever_is_absent(tree: Json) -> None:
    """The patch makes the levels that are missing, and no more."""
    seen = workload(tree)
    patched = applied(tree, (*seen.annotation_patch(WANTED), *seen.template_patch(WANTED)))
    assert patched["metadata"]["annotations"] == WANTED
    assert patched["spec"]["template"]["metadata"]["annotations"] == WANTED
    again = workload(patched)
    assert (again.annotation_patch(WANTED), again.template_patch(WANTED)) == ((), ())


ANNOTATIONS = st.dictionaries(st.text("ab/~.", min_size=1, max_size=4), st.text(max_size=3), max_size=4)


@given(before=st.none() | ANNOTATIONS, after=ANNOTATIONS)
def test_a_patch_turns_one_map_into_the_other(before: dict[str, str] | None, after: dict[str, str]) -> None:
    """Both annotation maps become exactly what is wanted, and nothing else changes."""
    tree = manifest(annotations=before, template_annotations=before)
    seen = workload(tree)
    patched = applied(tree, (*seen.annotation_patch(after), *seen.template_patch(after)))
    assert (patched["metadata"].pop("annotations") or {}) == after
    assert (patched["spec"]["template"]["metadata"].pop("annotations") or {}) == after
    del tree["metadata"]["annotations"], tree["spec"]["template"]["metadata"]["annotations"]
    assert patched == tree


def test_pausing_and_going_on() -> None:
    """`paused` is added or removed, and left alone where it is right."""
    running, paused = manifest(), manifest(paused=True)
    assert applied(running, workload(running).pause_patch(paused=True))["spec"]["paused"] is True
    assert "paused" not in applied(paused, workload(paused).pause_patch(paused=False))["spec"]
    assert workload(running).pause_patch(paused=False) == ()
    assert workload(paused).pause_patch(paused=True) == ()


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_other_kinds_are_never_held(kind: str) -> None:
    """They have no `paused`, so that an annotation alone means nothing."""
    tree = manifest(annotations={"rollout-checksums.proompteng.ai/held": "x"}, paused=True)
    assert workload(tree).held
    assert not workload(tree, kind).held
    assert not workload(tree, kind).can_pause


def test_who_is_held() -> None:
    """Held is who is paused by us: both signs are needed."""
    assert not workload(manifest(paused=True)).held
    assert not workload(manifest(annotations={"rollout-checksums.proompteng.ai/held": "x"})).held


def test_deleting() -> None:
    """A workload with a deletion timestamp is on its way out."""
    assert workload(manifest(deletionTimestamp="2026-01-01T00:00:00Z")).deleting


def test_a_false_paused_is_seen_in_the_applied_manifest() -> None:
    """A client-side apply leaves the manifest in an annotation, where false is still written."""

    def says(text: str) -> bool:
        return workload(manifest(annotations={LAST_APPLIED: text})).says_not_paused

    assert says(json.dumps({"spec": {"paused": False}}))
    assert not says(json.dumps({"spec": {"paused": True}}))
    assert not says(json.dumps({"spec": {}}))
    assert not says("{}")
    assert not says("no JSON")
    assert not says('{"spec": {"paused": "no"}}')


def test_a_false_paused_is_seen_in_the_owned_fields() -> None:
    """A server-side apply owns the field even where its value is false and not stored."""

    def says(entry: dict[str, Any], paused: bool | None = None) -> bool:  # noqa: FBT001 - reads like the field
        return workload(manifest(paused=paused, managedFields=[entry])).says_not_paused

    owning: Json = {"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}, "f:paused": {}}}
    assert says({"manager": "kubectl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": owning})
    assert not says({"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": owning})
    assert not says({"operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}})
    assert not says({"operation": "Apply", "fieldsV1": {"f:metadata": {}}})
    assert not says({"operation": "Apply"})
    assert not says({"operation": "Apply", "fieldsV1": owning}, paused=True)


def test_templates_are_compared_in_every_field_but_some_annotations() -> None:
    """Only the annotations that are to be ignored are."""
    plain = workload(manifest(template_annotations={"a": "1"}))
    assert plain.same_template(workload(manifest(template_annotations={"a": "1"})), ignoring=())
    assert plain.same_template(workload(manifest()), ignoring={"a"})
    assert plain.same_template(workload(manifest(template_annotations={"a": "2", "b": "1"})), ignoring={"a", "b"})
    assert not plain.same_template(workload(manifest(template_annotations={"a": "2"})), ignoring={"b"})
    other_image = manifest(pod_spec={"containers": [{"name": "shop", "image": "shop:2"}]})
    assert not plain.same_template(workload(other_image), ignoring={"a"})
    relabelled = manifest()
    relabelled["spec"]["template"]["metadata"]["labels"]["app"] = "other"
    assert not plain.same_template(workload(relabelled), ignoring={"a"})


@pytest.mark.parametrize("template", [{"spec": {"containers": 5}}, {"metadata": {"annotations": {"a": 1}}}, "text"])
def test_a_template_of_the_wrong_shape_is_refused_without_its_values(template: Any) -> None:
    """The message names the field only."""
    whole = msgspec.convert({"spec": {}}, WorkloadObject)
    assert whole.spec is not None
    spec = msgspec.structs.replace(whole.spec, template=msgspec.Raw(msgspec.json.encode(template)))
    with pytest.raises(MalformedReviewError, match=r"pod template cannot be read: Expected .* got"):
        Workload.of("Deployment", WorkloadObject(spec=spec))
