"""How a workload is decoded and patched."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.manifests import Json, applied, manifest, workload
from webhook.admission.patch import Add, PatchOperation
from webhook.checksums.core.kinds import DAEMON_SET, DEPLOYMENT, STATEFUL_SET, WorkloadKind
from webhook.checksums.core.objects import StoredMetadata, stored_type
from webhook.checksums.core.pause import LAST_APPLIED
from webhook.checksums.core.workload import Workload
from webhook.errors import MalformedReviewError

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


def both(tree: Json, annotations: dict[str, str]) -> tuple[PatchOperation, ...]:
    """Return the patch that sets the annotations of a workload and of its pod template."""
    return workload(tree).patch(annotations=annotations, template_annotations=annotations)


@pytest.mark.parametrize("tree", BARE)
def test_absent_and_null_fields_read_as_empty(tree: Json) -> None:
    """On every level."""
    seen = workload(tree)
    assert (seen.annotations, seen.template_annotations, seen.paused, seen.deleting) == ({}, {}, False, False)
    assert (seen.managed, seen.held, seen.manifest_pause) == (frozenset(), False, None)


@pytest.mark.parametrize("tree", BARE)
def test_annotations_can_be_added_on_any_missing_level(tree: Json) -> None:
    """The patch adds the missing levels and nothing else."""
    patched = applied(tree, both(tree, WANTED))
    assert patched["metadata"]["annotations"] == WANTED
    assert patched["spec"]["template"]["metadata"]["annotations"] == WANTED
    assert both(patched, WANTED) == ()


def test_a_missing_level_is_added_together_with_its_contents() -> None:
    """By one operation per map."""
    assert both({"metadata": {}, "spec": {}}, {"a/b": "1"}) == (
        Add("/metadata/annotations", {"a/b": "1"}),
        Add("/spec/template", {"metadata": {"annotations": {"a/b": "1"}}}),
    )
    assert both({"metadata": None, "spec": {"template": {"metadata": {"annotations": None}}}}, {"a": "1"}) == (
        Add("/metadata", {"annotations": {"a": "1"}}),
        Add("/spec/template/metadata/annotations", {"a": "1"}),
    )


ANNOTATIONS = st.dictionaries(st.text("ab/~.", min_size=1, max_size=4), st.text(max_size=3), max_size=4)


@given(before=st.none() | ANNOTATIONS, after=ANNOTATIONS)
def test_a_patch_turns_one_map_into_the_other(before: dict[str, str] | None, after: dict[str, str]) -> None:
    """Both annotation maps get exactly the wanted entries, and nothing else changes."""
    tree = manifest(annotations=before, template_annotations=before)
    patched = applied(tree, both(tree, after))
    assert (patched["metadata"].pop("annotations") or {}) == after
    assert (patched["spec"]["template"]["metadata"].pop("annotations") or {}) == after
    del tree["metadata"]["annotations"], tree["spec"]["template"]["metadata"]["annotations"]
    assert patched == tree


def test_pausing_and_resuming() -> None:
    """`paused` is added or removed, and not touched if it is right."""
    running, paused = manifest(), manifest(paused=True)
    assert applied(running, workload(running).patch(paused=True))["spec"]["paused"] is True
    assert "paused" not in applied(paused, workload(paused).patch(paused=False))["spec"]
    assert workload(running).patch(paused=False) == ()
    assert workload(paused).patch(paused=True) == ()


@pytest.mark.parametrize("kind", [STATEFUL_SET, DAEMON_SET])
def test_other_kinds_are_never_held(kind: WorkloadKind) -> None:
    """They have no `paused`, and an annotation alone has no meaning."""
    tree = manifest(annotations={"rollout-checksums.proompteng.ai/held": "x"}, paused=True)
    assert workload(tree).held
    assert not workload(tree, kind).held
    assert not kind.can_pause


def test_held_needs_both_signs() -> None:
    """The pause and the annotation."""
    assert not workload(manifest(paused=True)).held
    assert not workload(manifest(annotations={"rollout-checksums.proompteng.ai/held": "x"})).held


def test_deleting() -> None:
    """A workload with a deletion timestamp is being deleted."""
    assert workload(manifest(deletionTimestamp="2026-01-01T00:00:00Z")).deleting


def test_a_false_paused_is_found_in_the_applied_manifest() -> None:
    """A client-side apply stores the manifest in an annotation, with the false value."""

    def says(text: str) -> bool:
        return workload(manifest(annotations={LAST_APPLIED: text})).manifest_pause is False

    assert says(json.dumps({"spec": {"paused": False}}))
    assert not says(json.dumps({"spec": {"paused": True}}))
    assert not says(json.dumps({"spec": {}}))
    assert not says("{}")
    assert not says("no JSON")
    assert not says('{"spec": {"paused": "no"}}')


def test_a_false_paused_is_found_in_the_owned_fields() -> None:
    """A server-side apply owns the field even if its value is false and not stored."""

    def says(entry: dict[str, Any], paused: bool | None = None) -> bool:  # noqa: FBT001 - reads like the field
        return workload(manifest(paused=paused, managedFields=[entry])).manifest_pause is False

    owning: Json = {"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}, "f:paused": {}}}
    assert says({"manager": "kubectl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": owning})
    assert not says({"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": owning})
    assert not says({"operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}})
    assert not says({"operation": "Apply", "fieldsV1": {"f:metadata": {}}})
    assert not says({"operation": "Apply"})
    assert not says({"operation": "Apply", "fieldsV1": owning}, paused=True)


def test_templates_are_compared_in_every_field() -> None:
    """Only the given annotations are ignored."""
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
def test_a_template_of_the_wrong_type_is_rejected_without_its_values(template: Any) -> None:
    """The message names only the field."""
    whole = msgspec.json.decode(msgspec.json.encode({"spec": {"template": template}}), type=DEPLOYMENT.object_type)
    with pytest.raises(MalformedReviewError, match=r"pod template cannot be read: Expected .* got"):
        Workload.of(DEPLOYMENT, whole)


@given(before=st.none() | ANNOTATIONS, after=ANNOTATIONS)
def test_a_stored_workload_gets_the_same_patch(before: dict[str, str] | None, after: dict[str, str]) -> None:
    """The two ways of decoding agree about the pod template."""
    tree = manifest(template_annotations=before, resourceVersion="1")
    stored = msgspec.json.decode(msgspec.json.encode(tree), type=DEPLOYMENT.stored_type)
    patch = Workload.of_stored(DEPLOYMENT, stored).patch(template_annotations=after)
    assert patch == workload(tree).patch(template_annotations=after)


def test_a_stored_workload_keeps_only_the_annotations_of_decisions() -> None:
    """The last applied manifest, which can be as large as the workload, is dropped."""
    kept = {"rollout-checksums.proompteng.ai/secrets": "db", "deployment.kubernetes.io/revision": "3"}
    tree = manifest(annotations={**kept, LAST_APPLIED: "{}"})
    stored = msgspec.json.decode(msgspec.json.encode(tree), type=DEPLOYMENT.stored_type)
    assert stored.metadata.annotations == kept


def test_only_changes_that_decisions_are_made_of_need_a_decision() -> None:
    """A new status or revision does not; a new template, opt-in, uid or deletion does."""

    def stored(revision: str = "1", replicas: int = 1, opt_in: str = "db", **more: Any) -> Any:
        annotations = {"deployment.kubernetes.io/revision": revision, "rollout-checksums.proompteng.ai/secrets": opt_in}
        tree = manifest(annotations=annotations, **more) | {"status": {"replicas": replicas}}
        return msgspec.json.decode(msgspec.json.encode(tree), type=DEPLOYMENT.stored_type)

    assert not stored(revision="2", replicas=3, resourceVersion="7").needs_decision(stored())
    for changed in (
        stored(opt_in="tls"),
        stored(uid="other"),
        stored(paused=True),
        stored(template_annotations={"a": "b"}),
        stored(deletionTimestamp="2026-01-01T00:00:00Z"),
    ):
        assert changed.needs_decision(stored())


def test_struct_types_are_made_once_per_path() -> None:
    """Kinds with the same path share them, and a decoder is not built again."""
    assert DEPLOYMENT.object_type is STATEFUL_SET.object_type
    assert DEPLOYMENT.stored_type is stored_type(("spec", "template"))
    assert DEPLOYMENT.stored_type(StoredMetadata(name="shop")).spec.paused is None
