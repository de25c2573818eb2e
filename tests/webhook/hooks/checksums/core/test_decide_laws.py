"""Laws of the decision, whatever is written, stored, found and chosen."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webhook.hooks.checksums.core.test_decide import case_of
from tests.webhook.hooks.checksums.manifests import A, B, Json, applied, config_map, manifest, secret, workload
from webhook.hooks.checksums.core.decide import decide
from webhook.hooks.checksums.core.facts import Absent, Found, MissingPolicy, Reading, Rules, Unreadable
from webhook.hooks.checksums.core.keys import CONFIG_MAPS, ENABLED, HELD, MANAGED, SECRETS, Source
from webhook.hooks.checksums.core.workload import LAST_APPLIED

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
        LAST_APPLIED: st.sampled_from(['{"spec":{"paused":false}}', "{}"]),
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
KINDS = st.sampled_from(["Deployment", "StatefulSet"])


@settings(max_examples=500)
@given(new=MANIFESTS, old=st.none() | MANIFESTS, readings=READINGS, rules=RULES, kind=KINDS, controller=st.booleans())
def test_deciding_twice_is_deciding_once(
    new: Json,
    old: Json | None,
    readings: dict[Source, Reading],
    rules: Rules,
    kind: str,
    *,
    controller: bool,
) -> None:
    """What the patch makes needs no further patch."""
    if controller:
        old = None
    decided = decide(case_of(new, old, rules, kind, controller=controller), readings)
    after = applied(new, decided.operations)
    again = decide(case_of(after, old, rules, kind, controller=controller), readings)
    assert again.operations == ()
    assert (again.refusal is None) == (decided.refusal is None)


@settings(max_examples=500)
@given(new=MANIFESTS, old=st.none() | MANIFESTS, readings=READINGS, rules=RULES)
def test_nothing_of_others_is_touched(
    new: Json, old: Json | None, readings: dict[Source, Reading], rules: Rules
) -> None:
    """Only our annotations and `paused` ever change."""
    after = applied(new, decide(case_of(new, old, rules), readings).operations)
    assert _rest(after) == _rest(new)


@given(new=MANIFESTS, readings=READINGS, rules=RULES)
def test_what_is_written_is_remembered(new: Json, readings: dict[Source, Reading], rules: Rules) -> None:
    """Each key that a patch puts into the template is in the list of managed ones, so that it can be removed again."""
    decided = decide(case_of(new, None, rules), readings)
    after = workload(applied(new, decided.operations))
    written = {source.key for source in decided.changed}
    assert written <= after.managed
    assert after.managed <= after.template_annotations.keys() or decided.refusal is not None


@given(new=MANIFESTS, old=MANIFESTS, readings=READINGS)
def test_a_label_never_changes_a_staged_template(new: Json, old: Json, readings: dict[Source, Reading]) -> None:
    """A write that is about something else leaves the stored checksums, unless it ends a hold."""
    relabelled = {**old, "metadata": {**old["metadata"], "labels": new["metadata"]["annotations"] or {}}}
    case = case_of(relabelled, old, Rules(staged=True))
    if not case.workload.held:
        after = workload(applied(relabelled, decide(case, readings).operations))
        assert after.template_annotations == workload(old).template_annotations


@given(new=MANIFESTS, readings=READINGS, rules=RULES)
def test_admission_and_controller_agree(new: Json, readings: dict[Source, Reading], rules: Rules) -> None:
    """What admission has just made of a create, the controller finds nothing to do about."""
    decided = decide(case_of(new, None, rules), readings)
    after = applied(new, decided.operations)
    if decided.refusal is None:
        assert decide(case_of(after, None, rules, controller=True), readings).operations == ()


def _rest(tree: Json) -> Json:
    """A manifest without what is ours to write."""
    metadata = {**tree["metadata"], "annotations": _foreign(tree["metadata"]["annotations"])}
    template = tree["spec"]["template"]
    inner = {**template["metadata"], "annotations": _foreign(template["metadata"]["annotations"])}
    spec = {**tree["spec"], "template": {**template, "metadata": inner}}
    spec.pop("paused", None)
    return {"metadata": metadata, "spec": spec}


def _foreign(annotations: dict[str, str] | None) -> dict[str, str]:
    ours = {MANAGED, HELD, *KEYS, config_map("b").key}
    return {key: value for key, value in (annotations or {}).items() if key not in ours}
