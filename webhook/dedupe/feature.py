"""Deduplication as a feature: its webhooks, settings, RBAC rules and commands, and what it starts.

A run without a deliveryId is never sent to a webhook. The CEL expressions check each level, because a run may lack its
spec, and the type, so that `deliveryId: 123` is refused by the schema of the API server, with its own message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from webhook.admission.registration import (
    FailurePolicy,
    MatchCondition,
    Registration,
    RegistrationOptions,
    Rule,
    SideEffects,
    WebhookType,
)
from webhook.admission.review import Operation
from webhook.admission.webhook import Webhook
from webhook.dedupe.core.run import ORCHESTRATION_RUNS, OrchestrationRun
from webhook.dedupe.handlers import RunHandlers
from webhook.dedupe.settings import SETTINGS
from webhook.feature import Command, Feature, Process
from webhook.kube.rbac import AccessOptions, PolicyRule, ProgramRules

if TYPE_CHECKING:  # It imports the whole election.
    from webhook.kube.runnable import LeaderRunnable


def _has_delivery_id(variable: str) -> str:
    return (
        f"{variable} != null && has({variable}.spec) && type({variable}.spec) == map"
        f" && has({variable}.spec.deliveryId) && type({variable}.spec.deliveryId) == string"
    )


def _rule(*operations: Operation) -> tuple[Rule, ...]:
    runs = ORCHESTRATION_RUNS
    return (Rule(operations, runs.group, (runs.version,), (runs.plural,)),)


_NEW: Final = MatchCondition("has-a-delivery-id", _has_delivery_id("object"))
_OLD: Final = MatchCondition("had-a-delivery-id", _has_delivery_id("oldObject"))
_EITHER: Final = MatchCondition(
    "has-or-had-a-delivery-id", f"({_has_delivery_id('object')}) || ({_has_delivery_id('oldObject')})"
)

MUTATE: Final = Webhook(
    Registration(
        name="mutate-runs",
        type=WebhookType.MUTATING,
        path="/mutate/orchestrationruns",
        rules=_rule(Operation.CREATE),
        failure_policy=FailurePolicy.FAIL,
        side_effects=SideEffects.NONE,
        match_conditions=(_NEW,),
    ),
    OrchestrationRun,
    RunHandlers.mutate,
)
VALIDATE: Final = Webhook(
    Registration(
        name="validate-runs",
        type=WebhookType.VALIDATING,
        path="/validate/orchestrationruns",
        rules=_rule(Operation.CREATE, Operation.UPDATE),
        failure_policy=FailurePolicy.FAIL,
        side_effects=SideEffects.NONE_ON_DRY_RUN,
        match_conditions=(_EITHER,),
    ),
    OrchestrationRun,
    RunHandlers.validate,
)
NOTE_DELETIONS: Final = Webhook(
    Registration(
        name="note-deletions",
        type=WebhookType.VALIDATING,
        path="/note-deletion/orchestrationruns",
        rules=_rule(Operation.DELETE),
        # A namespace must be deletable while rollonce is down.
        failure_policy=FailurePolicy.IGNORE,
        side_effects=SideEffects.NONE_ON_DRY_RUN,
        match_conditions=(_OLD,),
    ),
    OrchestrationRun,
    RunHandlers.note_deletion,
)


def _webhooks(_: RegistrationOptions) -> tuple[Webhook[RunHandlers, Any], ...]:
    return MUTATE, VALIDATE, NOTE_DELETIONS


def _rules(_: AccessOptions) -> ProgramRules:
    runs: PolicyRule = {"apiGroups": [ORCHESTRATION_RUNS.group], "resources": [ORCHESTRATION_RUNS.plural]}
    return ProgramRules(
        server=({**runs, "verbs": ["get", "list"]},), controller=({**runs, "verbs": ["list", "watch"]},)
    )


async def _start_server(process: Process) -> RunHandlers:
    # Imported here, because the client of Redis takes long to load and most commands do not need it.
    from webhook.dedupe import wiring  # noqa: PLC0415

    return wiring.start_server(process)


async def _start_controller(process: Process) -> Sequence[LeaderRunnable]:
    from webhook.dedupe import wiring  # noqa: PLC0415 - as above

    wiring.start_controller(process)
    return ()


DEDUPE: Final = Feature(
    name="deduplication",
    server_settings=SETTINGS,
    controller_settings=SETTINGS,
    webhooks=_webhooks,
    rules=_rules,
    start_server=_start_server,
    start_controller=_start_controller,
    commands=(Command("runs", "webhook.dedupe.commands", "Show which delivery has which run, and free deliveries."),),
)
