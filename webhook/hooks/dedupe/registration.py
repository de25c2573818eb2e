"""How the API server is told of the webhooks for runs.

A run without a deliveryId is never sent. The expressions look from the top down, since a run may have no spec at all,
and at the type, so that `deliveryId: 123` is refused by the server's own schema in its own words.
"""

from __future__ import annotations

from typing import Final

from webhook.admission.registration import (
    FailurePolicy,
    MatchCondition,
    Registration,
    Rule,
    SideEffects,
    WebhookType,
)
from webhook.admission.review import Operation
from webhook.hooks.dedupe.core.resource import ORCHESTRATION_RUNS

MUTATE_PATH: Final = "/mutate/orchestrationruns"
VALIDATE_PATH: Final = "/validate/orchestrationruns"
DELETE_PATH: Final = "/note-deletion/orchestrationruns"


def _has_delivery_id(variable: str) -> str:
    return (
        f"{variable} != null && has({variable}.spec) && type({variable}.spec) == map"
        f" && has({variable}.spec.deliveryId) && type({variable}.spec.deliveryId) == string"
    )


_NEW = MatchCondition("has-a-delivery-id", _has_delivery_id("object"))
_OLD = MatchCondition("had-a-delivery-id", _has_delivery_id("oldObject"))
_EITHER = MatchCondition(
    "has-or-had-a-delivery-id", f"({_has_delivery_id('object')}) || ({_has_delivery_id('oldObject')})"
)


def _rule(*operations: Operation) -> tuple[Rule, ...]:
    runs = ORCHESTRATION_RUNS
    return (Rule(operations, runs.group, (runs.version,), (runs.plural,)),)


REGISTRATIONS: Final = (
    Registration(
        name="mutate-runs",
        type=WebhookType.MUTATING,
        path=MUTATE_PATH,
        rules=_rule(Operation.CREATE),
        failure_policy=FailurePolicy.FAIL,
        side_effects=SideEffects.NONE,
        match_conditions=(_NEW,),
    ),
    Registration(
        name="validate-runs",
        type=WebhookType.VALIDATING,
        path=VALIDATE_PATH,
        rules=_rule(Operation.CREATE, Operation.UPDATE),
        failure_policy=FailurePolicy.FAIL,
        side_effects=SideEffects.NONE_ON_DRY_RUN,
        match_conditions=(_EITHER,),
    ),
    Registration(
        name="note-deletions",
        type=WebhookType.VALIDATING,
        path=DELETE_PATH,
        rules=_rule(Operation.DELETE),
        # A namespace must be deletable while we are down.
        failure_policy=FailurePolicy.IGNORE,
        side_effects=SideEffects.NONE_ON_DRY_RUN,
        match_conditions=(_OLD,),
    ),
)
