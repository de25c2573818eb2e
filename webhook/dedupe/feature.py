"""Deduplication as a feature: its webhooks, settings, RBAC rules and commands, and what it starts.

A run without a deliveryId is never sent to a webhook. The CEL expressions check each level, because a run may lack its
spec, and the type, so that `deliveryId: 123` is refused by the schema of the API server, with its own message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from webhook.dedupe.core.identity import LABEL
from webhook.dedupe.core.run import ORCHESTRATION_RUNS, OrchestrationRun
from webhook.dedupe.handlers import RunHandlers
from webhook.dedupe.settings import SETTINGS, STATE, dedupe_settings
from webhook.feature import Command, Feature, Process
from webhook.kube.rbac import AccessOptions, PolicyRule, ProgramRules

if TYPE_CHECKING:  # It imports the whole election.
    from webhook.kube.runnable import LeaderRunnable


def _has_delivery_id(variable: str) -> str:
    return (
        f"{variable} != null && has({variable}.spec) && type({variable}.spec) == map"
        f" && has({variable}.spec.deliveryId) && type({variable}.spec.deliveryId) == string"
    )


def _delivery_id(variable: str) -> str:
    return f'({_has_delivery_id(variable)} ? {variable}.spec.deliveryId : "")'


def _ref(variable: str) -> str:
    reference = f"{variable}.spec.orchestrationRef"
    return (
        f"({variable} != null && has({variable}.spec) && type({variable}.spec) == map && has({reference})"
        f' && type({reference}) == map && has({reference}.name) ? {reference}.name : "")'
    )


def _label(variable: str) -> str:
    labels = f"{variable}.metadata.labels"
    return f"({variable} != null && has({labels}) && '{LABEL}' in {labels} ? {labels}['{LABEL}'] : \"\")"


def _changed(part: Callable[[str], str]) -> str:
    return f"{part('oldObject')} != {part('object')}"


def _rule(*operations: Operation) -> tuple[Rule, ...]:
    runs = ORCHESTRATION_RUNS
    return (Rule(operations, runs.group, (runs.version,), (runs.plural,)),)


_NEW: Final = MatchCondition("has-a-delivery-id", _has_delivery_id("object"))
_OLD: Final = MatchCondition("had-a-delivery-id", _has_delivery_id("oldObject"))
#: An update that changes nothing of the identity is none of ours: finalizers must go while rollonce is down.
_CHANGES_IDENTITY: Final = MatchCondition(
    "changes-the-identity",
    f"{_changed(_delivery_id)} || ({_has_delivery_id('object')} && {_changed(_ref)})",
)
_CHANGES_LABEL: Final = MatchCondition("changes-our-label", _changed(_label))

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
    compact=OrchestrationRun.compact,
)
VALIDATE: Final = Webhook(
    Registration(
        name="validate-runs",
        type=WebhookType.VALIDATING,
        path="/validate/orchestrationruns",
        rules=_rule(Operation.CREATE),
        failure_policy=FailurePolicy.FAIL,
        side_effects=SideEffects.NONE_ON_DRY_RUN,
        match_conditions=(_NEW,),
    ),
    OrchestrationRun,
    RunHandlers.validate,
    compact=OrchestrationRun.compact,
)
GUARD: Final = Webhook(
    Registration(
        name="guard-runs",
        type=WebhookType.VALIDATING,
        path="/guard/orchestrationruns",
        rules=_rule(Operation.UPDATE),
        failure_policy=FailurePolicy.FAIL,
        side_effects=SideEffects.NONE,
        match_conditions=(_CHANGES_IDENTITY,),
    ),
    OrchestrationRun,
    RunHandlers.guard,
)
RESTORE_LABEL: Final = Webhook(
    Registration(
        name="restore-label",
        type=WebhookType.MUTATING,
        path="/restore-label/orchestrationruns",
        rules=_rule(Operation.UPDATE),
        # A label that is removed while rollonce is down costs less than an update that fails.
        failure_policy=FailurePolicy.IGNORE,
        side_effects=SideEffects.NONE,
        match_conditions=(_NEW, _CHANGES_LABEL),
    ),
    OrchestrationRun,
    RunHandlers.restore_label,
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
    compact=OrchestrationRun.compact,
)


def _webhooks(_: RegistrationOptions) -> tuple[Webhook[RunHandlers, Any], ...]:
    return MUTATE, RESTORE_LABEL, VALIDATE, GUARD, NOTE_DELETIONS


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
    server_settings=(*SETTINGS, STATE),
    controller_settings=SETTINGS,
    check_server=dedupe_settings,
    check_controller=dedupe_settings,
    webhooks=_webhooks,
    rules=_rules,
    start_server=_start_server,
    start_controller=_start_controller,
    commands=(
        Command("runs", "webhook.dedupe.commands", "Show which delivery has which run, and free deliveries."),
        Command("submit", "webhook.dedupe.submit", "Create runs; a delivery that has its run already is no error."),
    ),
)
