"""The decision: each rule of the contract, and the laws that hold for all of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.webhook.hooks.checksums.manifests import A, B, Json, applied, config_map, manifest, secret, workload
from webhook.admission.response import StatusDetails
from webhook.hooks.checksums.core.case import Case
from webhook.hooks.checksums.core.decide import Hold, Outcome, decide
from webhook.hooks.checksums.core.facts import Absent, Found, MissingPolicy, Occasion, Reading, Rules, Unreadable
from webhook.hooks.checksums.core.keys import ENABLED, HELD, MANAGED, SECRETS, Source
from webhook.hooks.checksums.core.messages import RESUMED_BY_HAND, UNDO_CHANGES_NOTHING
from webhook.hooks.checksums.core.optin import OperatorPolicy, required
from webhook.hooks.checksums.core.workload import LAST_APPLIED

DB = secret("db")
KEY = "checksum/secret.db"
OPTED_IN = {SECRETS: "db"}
MANAGED_DB = {SECRETS: "db", MANAGED: KEY}
WARN, DENY, HOLD = Rules(MissingPolicy.WARN), Rules(MissingPolicy.DENY), Rules(MissingPolicy.HOLD)
STAGED = Rules(staged=True)
FORBIDDEN = Unreadable("HTTP 403")
EVERY_RULE = [Rules(policy, staged) for policy in MissingPolicy for staged in (False, True)]


def case_of(new: Json, old: Json | None, rules: Rules, kind: str = "Deployment", *, controller: bool = False) -> Case:
    """The case of a create, of an update if there is an old object, or of the controller's look."""
    seen = workload(new, kind)
    occasion = Occasion.RECONCILE if controller else Occasion.UPDATE if old else Occasion.CREATE
    requirements = required(seen, OperatorPolicy(), "prod")
    return Case.of(occasion, seen, workload(old, kind) if old else None, requirements, rules)


def outcome(
    new: Json,
    readings: Mapping[Source, Reading] | Reading,
    old: Json | None = None,
    rules: Rules = WARN,
    kind: str = "Deployment",
    *,
    controller: bool = False,
) -> Outcome:
    """Decide; a single reading is that of the Secret `db`."""
    given = readings if isinstance(readings, Mapping) else {DB: readings}
    return decide(case_of(new, old, rules, kind, controller=controller), given)


def template(tree: Json) -> dict[str, str]:
    """The annotations of a manifest's pod template."""
    return dict(tree["spec"]["template"]["metadata"]["annotations"] or {})


def stored(checksum: str = A, **more: str) -> Json:
    """A workload as it is stored after rollonce has seen it."""
    return manifest(annotations=MANAGED_DB, template_annotations={KEY: checksum, **more})


def test_a_create_gets_its_checksum() -> None:
    """The current checksum goes to the pod template, and the key to the list of managed ones."""
    new = manifest(annotations=OPTED_IN)
    decided = outcome(new, Found(A))
    after = applied(new, decided.operations)
    assert template(after) == {KEY: A}
    assert after["metadata"]["annotations"] == MANAGED_DB
    assert (decided.warnings, decided.refusal, decided.hold) == ((), None, Hold.NONE)
    assert decided.changed == (DB,)


def test_nothing_is_patched_when_nothing_changes() -> None:
    """An object that is as it should be is left alone."""
    decided = outcome(stored(), Found(A), old=stored())
    assert decided.operations == ()
    assert decided.changed == ()


def test_only_the_difference_is_patched() -> None:
    """A new checksum is one operation."""
    decided = outcome(stored(A), Found(B), old=stored(A))
    assert [operation.path for operation in decided.operations] == [
        "/spec/template/metadata/annotations/checksum~1secret.db"
    ]
    assert decided.changed == (DB,)
    assert decided.keys == {KEY}


def test_who_is_not_opted_in_is_left_alone() -> None:
    """No annotation, no patch, whatever else the template says."""
    new = manifest(template_annotations={"checksum/config": "mine", KEY: "mine too"})
    assert outcome(new, {}) == Outcome()


def test_who_is_being_deleted_is_left_alone() -> None:
    """Removing a finalizer must never fail, nor start a rollout."""
    new = manifest(annotations=OPTED_IN, deletionTimestamp="2026-01-01T00:00:00Z")
    assert case_of(new, stored(), DENY).to_read == ()
    assert outcome(new, {}, old=stored(), rules=DENY) == Outcome()


@pytest.mark.parametrize(
    "annotations", [{}, {ENABLED: "false", **MANAGED_DB}, {SECRETS: "", MANAGED: KEY}, {MANAGED: KEY}]
)
def test_opting_out_removes_exactly_what_rollonce_wrote(annotations: dict[str, str]) -> None:
    """Whichever way somebody opts out, and even if the write has lost the list of managed keys."""
    old = stored(**{"checksum/config": "theirs"})
    new = manifest(annotations=annotations, template_annotations=template(old))
    after = applied(new, outcome(new, {}, old=old).operations)
    assert template(after) == {"checksum/config": "theirs"}
    assert outcome(new, {}, old=old).keys == {KEY}
    assert MANAGED not in after["metadata"]["annotations"]


def test_opting_out_of_one_keeps_the_other() -> None:
    """Only the key that is not wanted any more goes."""
    keys = {KEY: A, "checksum/configmap.app": B}
    old = manifest(annotations={SECRETS: "db", MANAGED: ",".join(keys)}, template_annotations=keys)
    after = applied(old, outcome(old, Found(A), old=old).operations)
    assert template(after) == {KEY: A}
    assert after["metadata"]["annotations"] == MANAGED_DB


def test_a_write_that_drops_managed_keys_gets_them_back() -> None:
    """`kubectl replace` with the manifest as it was written."""
    new = manifest(annotations=OPTED_IN)
    decided = outcome(new, Found(A), old=stored())
    assert template(applied(new, decided.operations)) == {KEY: A}
    assert decided.warnings == ()


def test_the_list_cannot_claim_what_somebody_else_had_written() -> None:
    """Naming a key in the list of managed ones does not make rollonce remove it."""
    theirs = {"checksum/secret.theirs": "x"}
    old = manifest(template_annotations=theirs)
    new = manifest(annotations={MANAGED: "checksum/secret.theirs,checksum/config"}, template_annotations=theirs)
    assert template(applied(new, outcome(new, {}, old=old).operations)) == theirs


class TestMissing:
    """A required object that does not exist."""

    def test_warn_admits(self) -> None:
        """The default: no key, and a Warning that names the object."""
        new = manifest(annotations=OPTED_IN)
        decided = outcome(new, Absent())
        assert decided.operations == ()
        assert decided.refusal is None
        assert decided.warnings == (
            'Secret "db" does not exist. Its checksum is added, with one more rollout, when it appears.',
        )
        assert decided.resolution.missing == (DB,)

    @pytest.mark.parametrize("old", [None, manifest()])
    def test_deny_refuses(self, old: Json | None) -> None:
        """A create, and an update that newly wants it; the message says what to do."""
        refusal = outcome(manifest(annotations=OPTED_IN), Absent(), old=old, rules=DENY).refusal
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (403, "Forbidden")
        assert refusal.message == 'Secret "db" does not exist (create it first).'

    def test_deny_does_not_blame_a_write_about_something_else(self) -> None:
        """A label can be set on a workload that was admitted without its object."""
        old = manifest(annotations=OPTED_IN)
        new = manifest(annotations=OPTED_IN, labels={"a": "b"})
        assert outcome(new, Absent(), old=old, rules=DENY).refusal is None

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_the_controller_refuses_nothing(self, rules: Rules) -> None:
        """What is stored is stored."""
        decided = outcome(manifest(annotations=OPTED_IN), Absent(), rules=rules, controller=True)
        assert (decided.refusal, decided.operations) == (None, ())

    def test_problems_warn(self) -> None:
        """A wrong word is told of, the rest counts."""
        new = manifest(annotations={SECRETS: "db, Db"})
        decided = outcome(new, Found(A))
        assert template(applied(new, decided.operations)) == {KEY: A}
        (warning,) = decided.warnings
        assert warning.startswith(f'{SECRETS}: "Db" is not a name that a Secret can have')

    def test_problems_are_refused_under_deny(self) -> None:
        """As an invalid field, together with what is missing."""
        refusal = outcome(manifest(annotations={SECRETS: "db, Db"}), Absent(), rules=DENY).refusal
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (422, "Invalid")
        assert isinstance(refusal.details, StatusDetails)
        first, second = refusal.details.causes
        assert first.field == f"metadata.annotations[{SECRETS}]"
        assert '"Db"' in first.message
        assert 'Secret "db" does not exist' in second.message

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_optional_is_never_missing(self, rules: Rules) -> None:
        """A pod can start without it."""
        pod = {"containers": [{"envFrom": [{"secretRef": {"name": "db", "optional": True}}]}]}
        decided = outcome(manifest(annotations=OPTED_IN, pod_spec=pod), Absent(), rules=rules)
        assert decided == Outcome()


class TestDisappeared:
    """An object that was there."""

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_its_last_checksum_stays(self, rules: Rules) -> None:
        """Nothing rolls, nothing is refused, whatever the policy; the client is told."""
        new = stored()
        new["spec"]["replicas"] = 5
        new["spec"]["template"]["metadata"]["labels"]["new"] = "label"
        decided = outcome(new, Absent(), old=stored(), rules=rules)
        assert (decided.operations, decided.refusal) == ((), None)
        assert decided.warnings == ('Secret "db" does not exist any more. Its last checksum is kept.',)
        assert decided.resolution.disappeared == (DB,)

    def test_even_where_the_write_drops_it(self) -> None:
        """The stored object remembers."""
        new = manifest(annotations=OPTED_IN)
        assert template(applied(new, outcome(new, Absent(), old=stored()).operations)) == {KEY: A}

    def test_for_the_controller_too(self) -> None:
        """A deletion rolls nothing."""
        assert outcome(stored(), Absent(), controller=True).operations == ()

    def test_a_copied_manifest_was_never_seen(self) -> None:
        """A create that brings checksums along, as an exported manifest does, does not make an object exist."""
        decided = outcome(stored(), Absent(), rules=DENY)
        assert decided.refusal is not None
        after = applied(stored(), outcome(stored(), Absent()).operations)
        assert template(after) == {}


class TestUnreadable:
    """What cannot be read is not missing."""

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_a_create_is_admitted(self, rules: Rules) -> None:
        """Whatever the policy, with a Warning; the controller repairs."""
        decided = outcome(manifest(annotations=OPTED_IN), FORBIDDEN, rules=rules)
        assert (decided.operations, decided.refusal, decided.hold) == ((), None, Hold.NONE)
        assert decided.warnings == (
            'Secret "db" could not be read (HTTP 403). Its checksum is missing until it can be read.',
        )

    @pytest.mark.parametrize("written", [{}, {KEY: B}])
    def test_an_update_keeps_the_stored_value(self, written: dict[str, str]) -> None:
        """Also where the write drops it or brings another one."""
        new = manifest(annotations=OPTED_IN, template_annotations=written)
        decided = outcome(new, FORBIDDEN, old=stored(A))
        assert template(applied(new, decided.operations)) == {KEY: A}
        assert 'Secret "db" could not be read (HTTP 403). Its last checksum is kept.' in decided.warnings


class TestHold:
    """A new Deployment that waits for an object."""

    def held(self, waiting: str = "waiting for secret/db") -> Json:
        """A Deployment as it is stored while it is held."""
        return manifest(annotations={**OPTED_IN, HELD: waiting}, paused=True)

    def test_it_is_created_paused(self) -> None:
        """With the reason in an annotation and in a Warning."""
        new = manifest(annotations=OPTED_IN)
        decided = outcome(new, Absent(), rules=HOLD)
        assert applied(new, decided.operations) == self.held()
        assert decided.hold is Hold.PLACED
        (warning,) = decided.warnings
        assert 'until there is Secret "db"' in warning
        assert "kubectl rollout resume" in warning

    @pytest.mark.parametrize("controller", [True, False])
    def test_it_is_released_with_its_checksum_in_one_patch(self, *, controller: bool) -> None:
        """One patch, so that there is one ReplicaSet ever; whoever comes first, controller or client, releases."""
        held = self.held()
        decided = outcome(held, Found(A), old=None if controller else held, rules=HOLD, controller=controller)
        after = applied(held, decided.operations)
        assert decided.hold is Hold.RELEASED
        assert template(after) == {KEY: A}
        assert "paused" not in after["spec"]
        assert after["metadata"]["annotations"] == MANAGED_DB

    @pytest.mark.parametrize("reading", [Absent(), FORBIDDEN])
    @pytest.mark.parametrize("controller", [True, False])
    def test_it_stays_held(self, reading: Reading, *, controller: bool) -> None:
        """As long as the object is not seen, by a failed read least of all."""
        held = self.held()
        decided = outcome(held, reading, old=None if controller else held, rules=HOLD, controller=controller)
        assert (decided.operations, decided.hold) == ((), Hold.KEPT)

    def test_the_reason_is_kept_current(self) -> None:
        """Of two objects one appears; what was seen and is gone again is waited for as well."""
        both = manifest(annotations={SECRETS: "a, b", HELD: "waiting for secret/a, secret/b"}, paused=True)
        decided = outcome(both, {secret("a"): Found(A), secret("b"): Absent()}, rules=HOLD, controller=True)
        one = applied(both, decided.operations)
        assert one["metadata"]["annotations"][HELD] == "waiting for secret/b"
        decided = outcome(one, {secret("a"): Absent(), secret("b"): Found(B)}, rules=HOLD, controller=True)
        other = applied(one, decided.operations)
        assert other["metadata"]["annotations"][HELD] == "waiting for secret/a"
        assert other["spec"]["paused"] is True

    @pytest.mark.parametrize("controller", [True, False])
    @pytest.mark.parametrize("annotations", [{HELD: "x"}, {HELD: "x", ENABLED: "false", **OPTED_IN}, {}])
    def test_who_wants_nothing_any_more_is_released(self, annotations: dict[str, str], *, controller: bool) -> None:
        """Opting out and dropping the requirement end the hold, at admission and in the controller's eyes."""
        new = manifest(annotations={HELD: "x", **annotations}, paused=True)
        decided = outcome(new, {}, old=None if controller else self.held(), rules=HOLD, controller=controller)
        after = applied(new, decided.operations)
        assert "paused" not in after["spec"]
        assert HELD not in after["metadata"]["annotations"]

    @pytest.mark.parametrize("rules", [WARN, DENY])
    def test_another_policy_releases(self, rules: Rules) -> None:
        """Nobody is held for a rule that does not hold any more."""
        decided = outcome(self.held(), Absent(), rules=rules, controller=True)
        assert decided.hold is Hold.RELEASED
        assert "paused" not in applied(self.held(), decided.operations)["spec"]

    def test_resuming_by_hand_releases(self) -> None:
        """`kubectl rollout resume` takes `paused` away; the annotation goes, and nobody pauses it again."""
        new = manifest(annotations={**OPTED_IN, HELD: "waiting for secret/db"})
        decided = outcome(new, Absent(), old=self.held(), rules=HOLD)
        after = applied(new, decided.operations)
        assert after["metadata"]["annotations"] == OPTED_IN
        assert "paused" not in after["spec"]
        assert RESUMED_BY_HAND in decided.warnings
        assert outcome(after, Absent(), old=after, rules=HOLD).hold is Hold.NONE

    def test_who_paused_it_himself_is_respected(self) -> None:
        """It does not start by itself, and is not ours to release."""
        new = manifest(annotations=OPTED_IN, paused=True)
        decided = outcome(new, Absent(), rules=HOLD)
        assert (decided.operations, decided.hold, decided.refusal) == ((), Hold.NONE, None)
        decided = outcome(new, Found(A), rules=HOLD, controller=True)
        assert applied(new, decided.operations)["spec"]["paused"] is True

    def test_a_manifest_that_says_not_paused_is_refused(self) -> None:
        """Its next apply would end the hold, so that holding it would be a promise that cannot be kept."""
        new = manifest(annotations={**OPTED_IN, LAST_APPLIED: '{"spec":{"paused":false}}'})
        refusal = outcome(new, Absent(), rules=HOLD).refusal
        assert refusal is not None
        assert "paused: false" in refusal.message
        assert outcome(new, Found(A), rules=HOLD).refusal is None

    @pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
    @pytest.mark.parametrize("old", [None, manifest()])
    def test_kinds_that_cannot_pause_are_refused(self, kind: str, old: Json | None) -> None:
        """They have nothing to hold them by."""
        refusal = outcome(manifest(annotations=OPTED_IN), Absent(), old=old, rules=HOLD, kind=kind).refusal
        assert refusal is not None
        assert (refusal.code, "cannot be held" in refusal.message) == (403, True)

    def test_an_update_is_not_held(self) -> None:
        """A Deployment that runs goes on running: its old pods have what they need."""
        new = manifest(annotations=OPTED_IN)
        decided = outcome(new, Absent(), old=manifest(), rules=HOLD)
        assert (decided.operations, decided.refusal, decided.hold) == ((), None, Hold.NONE)
        assert decided.warnings

    def test_a_leftover_reason_goes_away(self) -> None:
        """The annotation says something only together with a pause of ours."""
        new = manifest(annotations={**OPTED_IN, HELD: "x"})
        after = applied(new, outcome(new, Absent(), rules=WARN).operations)
        assert after["metadata"]["annotations"] == OPTED_IN


class TestStaged:
    """Where workloads roll a few at a time."""

    def test_a_label_does_not_jump_the_queue(self) -> None:
        """The stored checksum stays, and nothing is read."""
        new = manifest(annotations=MANAGED_DB, template_annotations={KEY: A}, labels={"a": "b"})
        case = case_of(new, stored(A), STAGED)
        assert case.to_read == ()
        assert decide(case, {}) == Outcome(resolution=decide(case, {}).resolution)

    def test_dropped_or_older_checksums_do_not_either(self) -> None:
        """The stored ones are put back."""
        for written in ({}, {KEY: B}):
            new = manifest(annotations=OPTED_IN, template_annotations=written)
            assert template(applied(new, outcome(new, {}, old=stored(A), rules=STAGED).operations)) == {KEY: A}

    def test_a_rollout_of_its_own_takes_the_current_checksums_along(self) -> None:
        """A changed pod template, or opt-in, is brought up to date: it rolls anyway."""
        new = stored(A)
        new["spec"]["template"]["metadata"]["labels"]["new"] = "label"
        assert template(applied(new, outcome(new, Found(B), old=stored(A), rules=STAGED).operations)) == {KEY: B}
        new = manifest(annotations={**MANAGED_DB, SECRETS: "db, x"}, template_annotations={KEY: A})
        readings: dict[Source, Reading] = {DB: Found(B), secret("x"): Absent()}
        assert template(applied(new, outcome(new, readings, old=stored(A), rules=STAGED).operations)) == {KEY: B}

    def test_a_create_is_current(self) -> None:
        """There is nothing stored to keep."""
        new = manifest(annotations=OPTED_IN)
        assert template(applied(new, outcome(new, Found(B), rules=STAGED).operations)) == {KEY: B}

    def test_the_controller_decides_whose_turn_it_is(self) -> None:
        """Its own look is never held back here."""
        decided = outcome(stored(A), Found(B), rules=STAGED, controller=True)
        assert template(applied(stored(A), decided.operations)) == {KEY: B}


class TestUndo:
    """A `kubectl rollout undo` writes the pod template of an earlier revision."""

    @pytest.mark.parametrize("rules", [WARN, STAGED])
    def test_of_checksums_only_changes_nothing_and_says_so(self, rules: Rules) -> None:
        """The client prints "rolled back"; the Warning says what really happened."""
        decided = outcome(stored(A), Found(B), old=stored(B), rules=rules)
        assert applied(stored(A), decided.operations) == stored(B)
        assert decided.warnings == (UNDO_CHANGES_NOTHING,)

    def test_of_more_rolls_back_and_stays_current(self) -> None:
        """The old image comes with today's checksum, which is no news."""
        new, old = stored(A), stored(B)
        old["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:2"
        decided = outcome(new, Found(B), old=old)
        assert template(applied(new, decided.operations)) == {KEY: B}
        assert decided.warnings == ()

    def test_that_brings_a_workload_up_to_date_is_a_rollout(self) -> None:
        """The stored checksum is stale itself: something does change."""
        assert outcome(stored(A), Found("c" * 64), old=stored(B)).warnings == ()


def test_a_provided_checksum_is_taken_as_it_is() -> None:
    """Nothing is read for it."""
    new = manifest(annotations={SECRETS: f"db={B}"})
    assert case_of(new, None, WARN).to_read == ()
    assert template(applied(new, outcome(new, {}).operations)) == {KEY: B}


def test_the_controller_adds_what_admission_could_not() -> None:
    """A workload admitted without its object, or while rollonce was down, is repaired."""
    new = manifest(annotations={SECRETS: "db", "rollout-checksums.proompteng.ai/configmaps": "app"})
    readings = {DB: Found(A), config_map("app"): Found(B)}
    after = applied(new, outcome(new, readings, controller=True).operations)
    assert template(after) == {KEY: A, "checksum/configmap.app": B}
    assert after["metadata"]["annotations"][MANAGED] == f"checksum/configmap.app,{KEY}"
