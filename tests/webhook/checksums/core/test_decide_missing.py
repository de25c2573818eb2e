"""The decision about objects that are missing, were deleted, or cannot be read."""

from __future__ import annotations

import pytest

from tests.webhook.checksums.decisions import (
    DB,
    DENY,
    EVERY_RULE,
    FORBIDDEN,
    KEY,
    OPTED_IN,
    decision,
    stored,
    template,
)
from tests.webhook.checksums.manifests import A, B, Json, applied, manifest
from webhook.admission.response import StatusDetails
from webhook.checksums.core.decide import Hold, WorkloadDecision
from webhook.checksums.core.inputs import (
    Absent,
    Found,
    Rules,
)
from webhook.checksums.core.keys import SECRETS


class TestMissing:
    """A required object that does not exist."""

    def test_warn_admits(self) -> None:
        """The default: no key, and a Warning that names the object."""
        new = manifest(annotations=OPTED_IN)
        decided = decision(new, Absent())
        assert decided.operations == ()
        assert decided.refusal is None
        assert decided.warnings == (
            'Secret "db" does not exist. Its checksum is added, with one more rollout, when it appears.',
        )
        assert decided.resolution.missing == (DB,)

    @pytest.mark.parametrize("old", [None, manifest()])
    def test_deny_refuses(self, old: Json | None) -> None:
        """A create, and an update that adds the requirement; the message says what to do."""
        refusal = decision(manifest(annotations=OPTED_IN), Absent(), old=old, rules=DENY).refusal
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (403, "Forbidden")
        assert refusal.message == 'Secret "db" does not exist (create it first).'

    def test_deny_allows_a_write_about_something_else(self) -> None:
        """A label can be set on a workload that was admitted without its object."""
        old = manifest(annotations=OPTED_IN)
        new = manifest(annotations=OPTED_IN, labels={"a": "b"})
        assert decision(new, Absent(), old=old, rules=DENY).refusal is None

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_the_controller_refuses_nothing(self, rules: Rules) -> None:
        """What is stored cannot be refused."""
        decided = decision(manifest(annotations=OPTED_IN), Absent(), rules=rules, controller=True)
        assert (decided.refusal, decided.operations) == (None, ())

    def test_problems_warn(self) -> None:
        """A wrong word is reported, the others are used."""
        new = manifest(annotations={SECRETS: "db, Db"})
        decided = decision(new, Found(A))
        assert template(applied(new, decided.operations)) == {KEY: A}
        (warning,) = decided.warnings
        assert warning.startswith(f'{SECRETS}: "Db" is not a name that a Secret can have')

    def test_problems_are_refused_under_deny(self) -> None:
        """As an invalid field, together with what is missing."""
        refusal = decision(manifest(annotations={SECRETS: "db, Db"}), Absent(), rules=DENY).refusal
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
        decided = decision(manifest(annotations=OPTED_IN, pod_spec=pod), Absent(), rules=rules)
        assert decided == WorkloadDecision()


class TestDisappeared:
    """An object that existed and was deleted."""

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_its_last_checksum_stays(self, rules: Rules) -> None:
        """For every policy nothing rolls and nothing is refused; the client gets a warning."""
        new = stored()
        new["spec"]["replicas"] = 5
        new["spec"]["template"]["metadata"]["labels"]["new"] = "label"
        decided = decision(new, Absent(), old=stored(), rules=rules)
        assert (decided.operations, decided.refusal) == ((), None)
        assert decided.warnings == ('Secret "db" does not exist any more. Its last checksum is kept.',)
        assert decided.resolution.disappeared == (DB,)

    def test_even_if_the_write_drops_it(self) -> None:
        """The stored object has the checksum."""
        new = manifest(annotations=OPTED_IN)
        assert template(applied(new, decision(new, Absent(), old=stored()).operations)) == {KEY: A}

    def test_for_the_controller_too(self) -> None:
        """A deletion rolls nothing."""
        assert decision(stored(), Absent(), controller=True).operations == ()

    def test_a_create_with_checksums_does_not_count(self) -> None:
        """The checksums of an exported manifest do not prove that the object existed."""
        decided = decision(stored(), Absent(), rules=DENY)
        assert decided.refusal is not None
        after = applied(stored(), decision(stored(), Absent()).operations)
        assert template(after) == {}


class TestUnreadable:
    """An object that cannot be read is not missing."""

    @pytest.mark.parametrize("rules", EVERY_RULE)
    def test_a_create_is_admitted(self, rules: Rules) -> None:
        """For every policy, with a warning; the controller adds the checksum later."""
        decided = decision(manifest(annotations=OPTED_IN), FORBIDDEN, rules=rules)
        assert (decided.operations, decided.refusal, decided.hold) == ((), None, Hold.NONE)
        assert decided.warnings == (
            'Secret "db" could not be read (HTTP 403). Its checksum is missing until it can be read.',
        )

    @pytest.mark.parametrize("written", [{}, {KEY: B}])
    def test_an_update_keeps_the_stored_value(self, written: dict[str, str]) -> None:
        """Also if the write drops it or brings another one."""
        new = manifest(annotations=OPTED_IN, template_annotations=written)
        decided = decision(new, FORBIDDEN, old=stored(A))
        assert template(applied(new, decided.operations)) == {KEY: A}
        assert 'Secret "db" could not be read (HTTP 403). Its last checksum is kept.' in decided.warnings
