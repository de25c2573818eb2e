"""Short ways to make decisions in tests."""

from __future__ import annotations

from collections.abc import Mapping

from tests.webhook.checksums.manifests import A, Json, manifest, secret, workload
from webhook.checksums.core.decide import WorkloadDecision, decide
from webhook.checksums.core.inputs import (
    DecisionInput,
    MissingPolicy,
    Reading,
    Rules,
    Standing,
    Trigger,
    Unreadable,
)
from webhook.checksums.core.keys import MANAGED, SECRETS, Source
from webhook.checksums.core.kinds import DEPLOYMENT, WorkloadKind
from webhook.checksums.core.optin import OperatorPolicy, required

DB = secret("db")
KEY = "checksum/secret.db"
OPTED_IN = {SECRETS: "db"}
MANAGED_DB = {SECRETS: "db", MANAGED: KEY}
WARN, DENY, HOLD = Rules(MissingPolicy.WARN), Rules(MissingPolicy.DENY), Rules(MissingPolicy.HOLD)
STAGED = Rules(staged=True)
FORBIDDEN = Unreadable("HTTP 403")
EVERY_RULE = [Rules(policy, staged) for policy in MissingPolicy for staged in (False, True)]


def inputs_of(
    new: Json,
    old: Json | None,
    rules: Rules,
    kind: WorkloadKind = DEPLOYMENT,
    *,
    controller: bool = False,
    writer: str = "",
    standing: Standing | None = None,
) -> DecisionInput:
    """Return the input for a create, for an update if there is an old object, or for the controller."""
    seen = workload(new, kind)
    trigger = Trigger.RECONCILE if controller else Trigger.UPDATE if old else Trigger.CREATE
    requirements = required(seen, OperatorPolicy(), "prod")
    before = workload(old, kind) if old else None
    return DecisionInput.of(trigger, seen, before, requirements, rules, writer=writer, standing=standing)


def decision(
    new: Json,
    readings: Mapping[Source, Reading] | Reading,
    old: Json | None = None,
    rules: Rules = WARN,
    kind: WorkloadKind = DEPLOYMENT,
    *,
    controller: bool = False,
    writer: str = "",
    standing: Standing | None = None,
) -> WorkloadDecision:
    """Decide; a single reading is that of the Secret `db`."""
    given = readings if isinstance(readings, Mapping) else {DB: readings}
    return decide(inputs_of(new, old, rules, kind, controller=controller, writer=writer, standing=standing), given)


def template(tree: Json) -> dict[str, str]:
    """Return the annotations of a manifest's pod template."""
    return dict(tree["spec"]["template"]["metadata"]["annotations"] or {})


def stored(checksum: str = A, **more: str) -> Json:
    """Return a workload as it is stored after rollonce has added its checksum."""
    return manifest(annotations=MANAGED_DB, template_annotations={KEY: checksum, **more})
