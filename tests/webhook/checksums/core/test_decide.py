"""The decision: the rules that hold for every object."""

from __future__ import annotations

import pytest

from tests.webhook.checksums.decisions import (
    DB,
    DENY,
    KEY,
    MANAGED_DB,
    OPTED_IN,
    STAGED,
    WARN,
    decision,
    inputs_of,
    stored,
    template,
)
from tests.webhook.checksums.manifests import A, B, applied, config_map, manifest, secret
from webhook.checksums.core.decide import Hold, WorkloadDecision, decide
from webhook.checksums.core.inputs import (
    Absent,
    Found,
    Reading,
    Rules,
)
from webhook.checksums.core.keys import ENABLED, MANAGED, SECRETS, Source
from webhook.checksums.core.messages import undo_changes_nothing


def test_a_create_gets_its_checksum() -> None:
    """The pod template gets the checksum, and the list of managed keys its key."""
    new = manifest(annotations=OPTED_IN)
    decided = decision(new, Found(A))
    after = applied(new, decided.operations)
    assert template(after) == {KEY: A}
    assert after["metadata"]["annotations"] == MANAGED_DB
    assert (decided.warnings, decided.refusal, decided.hold) == ((), None, Hold.NONE)
    assert decided.changed == (DB,)


def test_nothing_is_patched_when_nothing_changes() -> None:
    """An object that is current is not changed."""
    decided = decision(stored(), Found(A), old=stored())
    assert decided.operations == ()
    assert decided.changed == ()


def test_only_the_difference_is_patched() -> None:
    """A new checksum is one operation."""
    decided = decision(stored(A), Found(B), old=stored(A))
    assert [operation.path for operation in decided.operations] == [
        "/spec/template/metadata/annotations/checksum~1secret.db"
    ]
    assert decided.changed == (DB,)
    assert decided.keys == {KEY}


def test_a_workload_that_is_not_opted_in_is_not_changed() -> None:
    """Without the annotation there is no patch, for any template."""
    new = manifest(template_annotations={"checksum/config": "mine", KEY: "mine too"})
    assert decision(new, {}) == WorkloadDecision()


def test_a_workload_that_is_being_deleted_is_not_changed() -> None:
    """Removing a finalizer must neither fail nor start a rollout."""
    new = manifest(annotations=OPTED_IN, deletionTimestamp="2026-01-01T00:00:00Z")
    assert inputs_of(new, stored(), DENY).to_read == ()
    assert decision(new, {}, old=stored(), rules=DENY) == WorkloadDecision()


@pytest.mark.parametrize(
    "annotations", [{}, {ENABLED: "false", **MANAGED_DB}, {SECRETS: "", MANAGED: KEY}, {MANAGED: KEY}]
)
def test_opting_out_removes_exactly_what_rollonce_wrote(annotations: dict[str, str]) -> None:
    """For every way to opt out, and even if the write drops the list of managed keys."""
    old = stored(**{"checksum/config": "theirs"})
    new = manifest(annotations=annotations, template_annotations=template(old))
    after = applied(new, decision(new, {}, old=old).operations)
    assert template(after) == {"checksum/config": "theirs"}
    assert decision(new, {}, old=old).keys == {KEY}
    assert MANAGED not in after["metadata"]["annotations"]


def test_opting_out_of_one_keeps_the_other() -> None:
    """Only the key that is not required any more is removed."""
    keys = {KEY: A, "checksum/configmap.app": B}
    old = manifest(annotations={SECRETS: "db", MANAGED: ",".join(keys)}, template_annotations=keys)
    after = applied(old, decision(old, Found(A), old=old).operations)
    assert template(after) == {KEY: A}
    assert after["metadata"]["annotations"] == MANAGED_DB


def test_a_write_that_drops_managed_keys_gets_them_back() -> None:
    """`kubectl replace` with the manifest as it was written."""
    new = manifest(annotations=OPTED_IN)
    decided = decision(new, Found(A), old=stored())
    assert template(applied(new, decided.operations)) == {KEY: A}
    assert decided.warnings == ()


def test_the_list_of_managed_keys_cannot_be_abused() -> None:
    """Naming a key of another program there does not make rollonce remove it."""
    theirs = {"checksum/secret.theirs": "x"}
    old = manifest(template_annotations=theirs)
    new = manifest(annotations={MANAGED: "checksum/secret.theirs,checksum/config"}, template_annotations=theirs)
    assert template(applied(new, decision(new, {}, old=old).operations)) == theirs


class TestStaged:
    """Workloads roll a few at a time."""

    def test_a_label_does_not_start_a_rollout(self) -> None:
        """The stored checksum stays, and nothing is read."""
        new = manifest(annotations=MANAGED_DB, template_annotations={KEY: A}, labels={"a": "b"})
        inputs = inputs_of(new, stored(A), STAGED)
        assert inputs.to_read == ()
        assert decide(inputs, {}) == WorkloadDecision(resolution=decide(inputs, {}).resolution)

    def test_dropped_or_older_checksums_do_not_either(self) -> None:
        """The stored ones are written again."""
        for written in ({}, {KEY: B}):
            new = manifest(annotations=OPTED_IN, template_annotations=written)
            assert template(applied(new, decision(new, {}, old=stored(A), rules=STAGED).operations)) == {KEY: A}

    def test_a_rollout_for_another_reason_gets_the_current_checksums(self) -> None:
        """A write that changes the pod template or the opt-in gets them, because it rolls anyway."""
        new = stored(A)
        new["spec"]["template"]["metadata"]["labels"]["new"] = "label"
        assert template(applied(new, decision(new, Found(B), old=stored(A), rules=STAGED).operations)) == {KEY: B}
        new = manifest(annotations={**MANAGED_DB, SECRETS: "db, x"}, template_annotations={KEY: A})
        readings: dict[Source, Reading] = {DB: Found(B), secret("x"): Absent()}
        assert template(applied(new, decision(new, readings, old=stored(A), rules=STAGED).operations)) == {KEY: B}

    def test_a_create_is_current(self) -> None:
        """There are no stored checksums."""
        new = manifest(annotations=OPTED_IN)
        assert template(applied(new, decision(new, Found(B), rules=STAGED).operations)) == {KEY: B}

    def test_the_controller_is_not_restricted(self) -> None:
        """It starts the rollouts itself."""
        decided = decision(stored(A), Found(B), rules=STAGED, controller=True)
        assert template(applied(stored(A), decided.operations)) == {KEY: B}


class TestUndo:
    """A `kubectl rollout undo` writes the pod template of an earlier revision."""

    @pytest.mark.parametrize(("rules", "current"), [(WARN, B), (STAGED, B), (STAGED, "c" * 64)])
    def test_of_checksums_only_changes_nothing_and_says_so(self, rules: Rules, current: str) -> None:
        """Kubectl prints "rolled back"; the warning names what is kept, which need not be the current contents."""
        decided = decision(stored(A), Found(current), old=stored(B), rules=rules)
        assert applied(stored(A), decided.operations) == stored(B)
        assert decided.warnings == (undo_changes_nothing([KEY]),)
        assert f"kept as they are stored: {KEY}." in decided.warnings[0]
        assert "current contents" not in decided.warnings[0]

    def test_of_more_rolls_back_and_stays_current(self) -> None:
        """The old image gets the current checksum, without a warning."""
        new, old = stored(A), stored(B)
        old["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:2"
        decided = decision(new, Found(B), old=old)
        assert template(applied(new, decided.operations)) == {KEY: B}
        assert decided.warnings == ()

    def test_of_a_stale_workload_is_a_rollout(self) -> None:
        """The stored checksum is stale, so it changes."""
        assert decision(stored(A), Found("c" * 64), old=stored(B)).warnings == ()


def test_a_provided_checksum_is_used_unchanged() -> None:
    """Nothing is read for it."""
    new = manifest(annotations={SECRETS: f"db={B}"})
    assert inputs_of(new, None, WARN).to_read == ()
    assert template(applied(new, decision(new, {}).operations)) == {KEY: B}


def test_the_controller_adds_what_admission_could_not() -> None:
    """To a workload that was admitted without its object, or while the server was down."""
    new = manifest(annotations={SECRETS: "db", "rollout-checksums.proompteng.ai/configmaps": "app"})
    readings = {DB: Found(A), config_map("app"): Found(B)}
    after = applied(new, decision(new, readings, controller=True).operations)
    assert template(after) == {KEY: A, "checksum/configmap.app": B}
    assert after["metadata"]["annotations"][MANAGED] == f"checksum/configmap.app,{KEY}"
