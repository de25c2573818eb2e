"""Properties of the decision for any write, stored object, readings and rules."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webhook.checksums.decisions import inputs_of
from tests.webhook.checksums.manifests import A, B, Json, applied, config_map, manifest, secret, workload
from webhook.checksums.core.decide import decide
from webhook.checksums.core.inputs import Absent, Found, MissingPolicy, Reading, Rules, Unreadable
from webhook.checksums.core.keys import CONFIG_MAPS, ENABLED, HELD, MANAGED, SECRETS, Source
from webhook.checksums.core.kinds import DEPLOYMENT, STATEFUL_SET, WorkloadKind
from webhook.checksums.core.pause import KUBECTL_PATCH, LAST_APPLIED

SOURCES = [secret("a"), secret("b"), config_map("a")]
KEYS = [source.key for source in SOURCES]
FOREIGN = ["checksum/config", "example.com/x"]
CHECKSUMS = st.sampled_from([A, B])
LISTS = st.sampled_from(["a", "a, b", "b", "*", f"a={A}", "a, Oops", ""])

OWN_ANNOTATIONS = st.fixed_dictionaries(
    {},
    optional={
        SECRETS: LISTS,
        CONFIG_MAPS: LISTS,
        ENABLED: st.sampled_from(["true", "false", "maybe"]),
        MANAGED: st.lists(st.sampled_from(KEYS + FOREIGN), unique=True).map(",".join),
        HELD: st.just("waiting for secret/a"),
        LAST_APPLIED: st.sampled_from(['{"spec":{"paused":false}}', '{"spec":{"paused":true}}', "{}"]),
        "example.com/mine": st.just("x"),
    },
)
TEMPLATE_ANNOTATIONS = st.dictionaries(st.sampled_from(KEYS + FOREIGN), CHECKSUMS)
POD_SPECS = st.sampled_from(
    [
        {"containers": [{"envFrom": [{"secretRef": {"name": "a"}}]}]},
        {"containers": [{"envFrom": [{"secretRef": {"name": "a", "optional": True}}]}]},
        {"containers": []},
    ]
)
MANIFESTS = st.builds(
    manifest,
    annotations=st.none() | OWN_ANNOTATIONS,
    template_annotations=st.none() | TEMPLATE_ANNOTATIONS,
    pod_spec=POD_SPECS,
    paused=st.sampled_from([None, True]),
)
READING: st.SearchStrategy[Reading] = st.one_of(
    CHECKSUMS.map(Found), st.just(Absent()), st.just(Unreadable("HTTP 500"))
)
READINGS = st.fixed_dictionaries(dict.fromkeys([*SOURCES, config_map("b")], READING))
RULES = st.builds(Rules, st.sampled_from(MissingPolicy), st.booleans())
KINDS = st.sampled_from([DEPLOYMENT, STATEFUL_SET])


@settings(max_examples=500)
@given(
    new=MANIFESTS,
    old=st.none() | MANIFESTS,
    readings=READINGS,
    rules=RULES,
    kind=KINDS,
    controller=st.booleans(),
    writer=st.sampled_from(["", KUBECTL_PATCH]),
)
def test_the_decision_is_idempotent(
    new: Json,
    old: Json | None,
    readings: dict[Source, Reading],
    rules: Rules,
    kind: WorkloadKind,
    *,
    controller: bool,
    writer: str,
) -> None:
    """The patched object needs no further patch."""
    if controller:
        old = None
    elif writer:
        new = old or new
    decided = decide(inputs_of(new, old, rules, kind, controller=controller, writer=writer), readings)
    after = applied(new, decided.operations)
    again = decide(inputs_of(after, old, rules, kind, controller=controller, writer=writer), readings)
    assert again.operations == ()
    assert (again.refusal is None) == (decided.refusal is None)


@settings(max_examples=500)
@given(new=MANIFESTS, old=st.none() | MANIFESTS, readings=READINGS, rules=RULES)
def test_nothing_else_is_changed(new: Json, old: Json | None, readings: dict[Source, Reading], rules: Rules) -> None:
    """Only annotations of rollonce and `paused` change."""
    after = applied(new, decide(inputs_of(new, old, rules), readings).operations)
    assert _rest(after) == _rest(new)


@given(new=MANIFESTS, old=st.none() | MANIFESTS, readings=READINGS, rules=RULES, controller=st.booleans())
def test_a_pause_of_an_author_never_ends(
    new: Json, old: Json | None, readings: dict[Source, Reading], rules: Rules, *, controller: bool
) -> None:
    """What a manifest has paused stays paused, whatever rollonce has written to the workload."""
    author = {**(new["metadata"]["annotations"] or {}), LAST_APPLIED: '{"spec":{"paused":true}}'}
    new = manifest(annotations=author, template_annotations=new["spec"]["template"]["metadata"]["annotations"])
    new["spec"]["paused"] = True
    inputs = inputs_of(new, None if controller else old, rules, controller=controller)
    assert applied(new, decide(inputs, readings).operations)["spec"]["paused"] is True


@given(new=MANIFESTS, readings=READINGS, rules=RULES)
def test_written_keys_are_managed(new: Json, readings: dict[Source, Reading], rules: Rules) -> None:
    """Each key that a patch adds to the template is in the list of managed keys, so that it can be removed again."""
    decided = decide(inputs_of(new, None, rules), readings)
    after = workload(applied(new, decided.operations))
    written = {source.key for source in decided.changed}
    assert written <= after.managed
    assert after.managed <= after.template_annotations.keys() or decided.refusal is not None


@settings(max_examples=500)
@given(new=MANIFESTS, old=MANIFESTS, readings=READINGS, rules=RULES, controller=st.booleans())
def test_no_managed_key_is_left_behind(
    new: Json, old: Json, readings: dict[Source, Reading], rules: Rules, *, controller: bool
) -> None:
    """What was managed stays so or is gone, even if a client's write drops the list; so unmanaged keys are others'."""
    inputs = inputs_of(new, None if controller else old, rules, controller=controller)
    decided = decide(inputs, readings)
    after = workload(applied(new, decided.operations))
    was = workload(new if controller else old).managed
    assert decided.refusal is not None or not (was & after.template_annotations.keys()) - after.managed


@given(new=MANIFESTS, old=MANIFESTS, readings=READINGS)
def test_a_label_never_changes_a_staged_template(new: Json, old: Json, readings: dict[Source, Reading]) -> None:
    """A write about something else keeps the stored checksums, unless it ends a hold."""
    relabelled = {**old, "metadata": {**old["metadata"], "labels": new["metadata"]["annotations"] or {}}}
    inputs = inputs_of(relabelled, old, Rules(staged=True))
    if not inputs.workload.held:
        after = workload(applied(relabelled, decide(inputs, readings).operations))
        assert after.template_annotations == workload(old).template_annotations


@given(new=MANIFESTS, readings=READINGS, rules=RULES)
def test_admission_and_controller_agree(new: Json, readings: dict[Source, Reading], rules: Rules) -> None:
    """The controller does not change what admission has made of a create."""
    decided = decide(inputs_of(new, None, rules), readings)
    after = applied(new, decided.operations)
    if decided.refusal is None:
        assert decide(inputs_of(after, None, rules, controller=True), readings).operations == ()


def _rest(tree: Json) -> Json:
    """Return a manifest without what rollonce may write."""
    metadata = {**tree["metadata"], "annotations": _foreign(tree["metadata"]["annotations"])}
    template = tree["spec"]["template"]
    inner = {**template["metadata"], "annotations": _foreign(template["metadata"]["annotations"])}
    spec = {**tree["spec"], "template": {**template, "metadata": inner}}
    spec.pop("paused", None)
    return {"metadata": metadata, "spec": spec}


def _foreign(annotations: dict[str, str] | None) -> dict[str, str]:
    own = {MANAGED, HELD, *KEYS, config_map("b").key}
    return {key: value for key, value in (annotations or {}).items() if key not in own}
