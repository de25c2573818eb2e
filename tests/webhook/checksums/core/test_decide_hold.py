"""The decision to hold a new workload until its objects exist."""

from __future__ import annotations

import pytest

from tests.webhook.checksums.decisions import (
    DENY,
    FORBIDDEN,
    HOLD,
    KEY,
    MANAGED_DB,
    OPTED_IN,
    WARN,
    decision,
    template,
)
from tests.webhook.checksums.manifests import A, B, Json, applied, manifest, secret
from webhook.checksums.core.decide import Hold
from webhook.checksums.core.inputs import (
    Absent,
    Found,
    Reading,
    Rules,
)
from webhook.checksums.core.keys import ENABLED, HELD, SECRETS
from webhook.checksums.core.kinds import DAEMON_SET, STATEFUL_SET, WorkloadKind
from webhook.checksums.core.messages import RESUMED_BY_HAND, YIELDED
from webhook.checksums.core.pause import KUBECTL_PATCH, LAST_APPLIED


class TestHold:
    """A new Deployment that waits for an object."""

    def held(self, waiting: str = "waiting for secret/db") -> Json:
        """Return a Deployment as it is stored while it is held."""
        return manifest(annotations={**OPTED_IN, HELD: waiting}, paused=True)

    def test_it_is_created_paused(self) -> None:
        """The reason is in an annotation and in a warning."""
        new = manifest(annotations=OPTED_IN)
        decided = decision(new, Absent(), rules=HOLD)
        assert applied(new, decided.operations) == self.held()
        assert decided.hold is Hold.PLACED
        (warning,) = decided.warnings
        assert 'until there is Secret "db"' in warning
        assert "kubectl rollout resume" in warning
        assert f"remove the annotation {HELD}" in warning

    @pytest.mark.parametrize("controller", [True, False])
    def test_it_is_released_with_its_checksum_in_one_patch(self, *, controller: bool) -> None:
        """One patch, so that there is only one ReplicaSet, whether the controller or a client triggers it."""
        held = self.held()
        decided = decision(held, Found(A), old=None if controller else held, rules=HOLD, controller=controller)
        after = applied(held, decided.operations)
        assert decided.hold is Hold.RELEASED
        assert template(after) == {KEY: A}
        assert "paused" not in after["spec"]
        assert after["metadata"]["annotations"] == MANAGED_DB

    @pytest.mark.parametrize("reading", [Absent(), FORBIDDEN])
    @pytest.mark.parametrize("controller", [True, False])
    def test_it_stays_held(self, reading: Reading, *, controller: bool) -> None:
        """As long as the object is not found; a failed read does not release it."""
        held = self.held()
        decided = decision(held, reading, old=None if controller else held, rules=HOLD, controller=controller)
        assert (decided.operations, decided.hold) == ((), Hold.KEPT)

    def test_the_reason_is_kept_current(self) -> None:
        """Of two objects one appears; one that disappears again is waited for again."""
        both = manifest(annotations={SECRETS: "a, b", HELD: "waiting for secret/a, secret/b"}, paused=True)
        decided = decision(both, {secret("a"): Found(A), secret("b"): Absent()}, rules=HOLD, controller=True)
        one = applied(both, decided.operations)
        assert one["metadata"]["annotations"][HELD] == "waiting for secret/b"
        decided = decision(one, {secret("a"): Absent(), secret("b"): Found(B)}, rules=HOLD, controller=True)
        other = applied(one, decided.operations)
        assert other["metadata"]["annotations"][HELD] == "waiting for secret/a"
        assert other["spec"]["paused"] is True

    @pytest.mark.parametrize("controller", [True, False])
    @pytest.mark.parametrize("annotations", [{HELD: "x"}, {HELD: "x", ENABLED: "false", **OPTED_IN}, {}])
    def test_without_requirements_it_is_released(self, annotations: dict[str, str], *, controller: bool) -> None:
        """Opting out and dropping the requirement end the hold, at admission and in the controller."""
        new = manifest(annotations={HELD: "x", **annotations}, paused=True)
        decided = decision(new, {}, old=None if controller else self.held(), rules=HOLD, controller=controller)
        after = applied(new, decided.operations)
        assert "paused" not in after["spec"]
        assert HELD not in after["metadata"]["annotations"]

    @pytest.mark.parametrize("rules", [WARN, DENY])
    def test_another_policy_releases(self, rules: Rules) -> None:
        """A hold ends when the policy is no longer `hold`."""
        decided = decision(self.held(), Absent(), rules=rules, controller=True)
        assert decided.hold is Hold.RELEASED
        assert "paused" not in applied(self.held(), decided.operations)["spec"]

    def test_resuming_by_hand_releases(self) -> None:
        """`kubectl rollout resume` removes `paused`; rollonce removes the annotation and does not pause it again."""
        new = manifest(annotations={**OPTED_IN, HELD: "waiting for secret/db"})
        decided = decision(new, Absent(), old=self.held(), rules=HOLD)
        after = applied(new, decided.operations)
        assert after["metadata"]["annotations"] == OPTED_IN
        assert "paused" not in after["spec"]
        assert RESUMED_BY_HAND in decided.warnings
        assert decision(after, Absent(), old=after, rules=HOLD).hold is Hold.NONE

    def test_the_pause_of_an_author_stays(self) -> None:
        """A Deployment that its author paused is neither held nor released."""
        new = manifest(annotations=OPTED_IN, paused=True)
        decided = decision(new, Absent(), rules=HOLD)
        assert (decided.operations, decided.hold, decided.refusal) == ((), Hold.NONE, None)
        decided = decision(new, Found(A), rules=HOLD, controller=True)
        assert applied(new, decided.operations)["spec"]["paused"] is True

    @pytest.mark.parametrize("controller", [True, False])
    @pytest.mark.parametrize("rules", [HOLD, WARN])
    @pytest.mark.parametrize("reading", [Absent(), Found(A)])
    def test_a_pause_by_hand_ends_the_hold_and_stays(self, rules: Rules, reading: Reading, *, controller: bool) -> None:
        """With any policy; the checksum is added as soon as there is one."""
        held = self.held()
        new = manifest(annotations={**OPTED_IN, HELD: "x", LAST_APPLIED: '{"spec":{"paused":true}}'}, paused=True)
        decided = decision(new, reading, old=None if controller else held, rules=rules, controller=controller)
        after = applied(new, decided.operations)
        assert decided.hold is Hold.YIELDED
        assert YIELDED in decided.warnings
        assert after["spec"]["paused"] is True
        assert HELD not in after["metadata"]["annotations"]
        assert template(after) == ({KEY: A} if isinstance(reading, Found) else {})

    def test_opting_out_keeps_a_pause_by_hand(self) -> None:
        """It ends the hold only."""
        new = manifest(annotations={HELD: "x", LAST_APPLIED: '{"spec":{"paused":true}}'}, paused=True)
        after = applied(new, decision(new, {}, controller=True).operations)
        assert after["spec"]["paused"] is True
        assert HELD not in after["metadata"]["annotations"]

    def test_a_patch_that_changes_nothing_is_a_pause_by_hand(self) -> None:
        """Only `kubectl patch` sends one, and it may have said `paused: true`."""
        held = self.held()
        after = applied(held, decision(held, Absent(), old=held, rules=HOLD, writer=KUBECTL_PATCH).operations)
        assert after["metadata"]["annotations"] == OPTED_IN
        assert after["spec"]["paused"] is True
        again = decision(after, Absent(), old=held, rules=HOLD, writer=KUBECTL_PATCH)
        assert again.operations == ()
        assert YIELDED in again.warnings

    @pytest.mark.parametrize("change", [{"labels": {"a": "b"}}, {"managedFields": [{"manager": "x"}]}, {}])
    def test_a_patch_of_something_else_leaves_the_hold(self, change: Json) -> None:
        """Whether of the metadata, of the specification, or by another client."""
        new, writer = manifest(annotations=self.held()["metadata"]["annotations"], paused=True, **change), KUBECTL_PATCH
        if not change:
            new["spec"]["replicas"] = 2
        assert decision(new, Absent(), old=self.held(), rules=HOLD, writer=writer).hold is Hold.KEPT
        assert decision(self.held(), Absent(), old=self.held(), rules=HOLD, writer="manager").hold is Hold.KEPT

    @pytest.mark.parametrize("value", ["false", "true"])
    def test_a_manifest_with_a_value_is_refused(self, value: str) -> None:
        """Its next apply would end the hold; with `true`, it would count as a pause by hand."""
        new = manifest(annotations={**OPTED_IN, LAST_APPLIED: f'{{"spec":{{"paused":{value}}}}}'})
        refusal = decision(new, Absent(), rules=HOLD).refusal
        assert refusal is not None
        assert f"paused: {value}" in refusal.message
        assert decision(new, Found(A), rules=HOLD).refusal is None

    @pytest.mark.parametrize("kind", [STATEFUL_SET, DAEMON_SET])
    @pytest.mark.parametrize("old", [None, manifest()])
    def test_kinds_that_cannot_pause_are_refused(self, kind: WorkloadKind, old: Json | None) -> None:
        """They have no `paused`."""
        refusal = decision(manifest(annotations=OPTED_IN), Absent(), old=old, rules=HOLD, kind=kind).refusal
        assert refusal is not None
        assert (refusal.code, "cannot be held" in refusal.message) == (403, True)

    def test_an_update_is_not_held(self) -> None:
        """A running Deployment keeps running: its old pods have what they need."""
        new = manifest(annotations=OPTED_IN)
        decided = decision(new, Absent(), old=manifest(), rules=HOLD)
        assert (decided.operations, decided.refusal, decided.hold) == ((), None, Hold.NONE)
        assert decided.warnings

    def test_a_reason_without_a_pause_is_removed(self) -> None:
        """The annotation has a meaning only together with a pause."""
        new = manifest(annotations={**OPTED_IN, HELD: "x"})
        after = applied(new, decision(new, Absent(), rules=WARN).operations)
        assert after["metadata"]["annotations"] == OPTED_IN
