"""The feature: its settings, webhooks, RBAC rules, commands, and how it is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

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
from webhook.checksums import settings as checksum_settings
from webhook.checksums.core.keys import CONFIG_MAPS, HELD, MANAGED, SECRETS, SourceKind
from webhook.checksums.core.kinds import KINDS, WorkloadKind
from webhook.checksums.core.objects import WorkloadObject
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.mutator import WorkloadMutator, new_mutator
from webhook.checksums.policy_file import STRUCTURED
from webhook.feature import Command, Feature, Process
from webhook.kube.rbac import Access, AccessOptions, PolicyRule, ProgramRules
from webhook.runtime.settings import Settings

if TYPE_CHECKING:
    from webhook.kube.runnable import LeaderRunnable

MUTATE_PREFIX: Final = "/mutate/"
#: Annotations by which a workload is sent to the webhook: those of the opt-in, and those that rollonce wrote.
_SENT_BY: Final = (SECRETS, CONFIG_MAPS, MANAGED, HELD)
_READ: Final = ("get",)
_WATCH: Final = ("get", "list", "watch")


def checksums_feature(kinds: tuple[WorkloadKind, ...] = KINDS) -> Feature[WorkloadMutator]:
    """Return the feature for some kinds of workloads."""
    return Feature(
        name="checksums",
        server_settings=checksum_settings.SHARED,
        controller_settings=checksum_settings.CONTROLLER,
        structured_settings=STRUCTURED,
        check_server=_check_server,
        check_controller=partial(_check_controller, kinds),
        registration_options=_registration_options,
        webhooks=partial(_webhooks, kinds),
        rules=partial(_rules, kinds),
        start_server=partial(_start_server, kinds),
        start_controller=partial(_start_controller, kinds),
        commands=(
            Command("checksums", "webhook.checksums.commands", "Show, explain and remove checksums in a cluster."),
            Command("render", "webhook.checksums.render_command", "Add checksums to manifests, without a cluster."),
        ),
    )


async def _start_server(kinds: tuple[WorkloadKind, ...], process: Process) -> WorkloadMutator:
    settings = await checksum_settings.live_settings(
        process.settings, process.api, clock=process.clock, log=process.log
    )
    process.background.start("settings", settings.follow)
    return new_mutator(
        settings.current,
        process.api,
        clock=process.clock,
        log=process.log,
        metrics=ChecksumMetrics(process.registry),
        kinds=kinds,
    )


async def _start_controller(kinds: tuple[WorkloadKind, ...], process: Process) -> Sequence[LeaderRunnable]:
    # Imported here, because it is not needed by commands.
    from webhook.checksums.controller.runnable import start  # noqa: PLC0415

    return (await start(process, kinds),)


def _check_server(settings: Settings) -> None:
    from webhook.checksums.check import check_server  # noqa: PLC0415 - as above

    check_server(settings)


def _check_controller(kinds: tuple[WorkloadKind, ...], settings: Settings) -> None:
    from webhook.checksums.check import check_controller  # noqa: PLC0415 - as above

    check_controller(settings, kinds)


def _registration_options(options: RegistrationOptions, settings: Settings) -> RegistrationOptions:
    """Add the namespaces of the operator's list, as the settings file has it now.

    Raises:
        ConfigurationError: The list is invalid.
    """
    from webhook.checksums.check import policy_of  # noqa: PLC0415 - as above

    policy = policy_of(settings)
    return replace(options, policy_namespaces=tuple(sorted(policy.namespaces)) if policy.enabled else ())


def _webhooks(
    kinds: tuple[WorkloadKind, ...], options: RegistrationOptions
) -> tuple[Webhook[WorkloadMutator, WorkloadObject], ...]:
    """Return one webhook per kind, and a second one per kind for the namespaces of the operator's list.

    Only workloads that are opted in are sent, and those that were before the request, so that opting out takes effect.
    In the namespaces of the operator's list every workload is sent, because its own annotations do not show that it is
    opted in; the second webhook is for workloads that the first one does not match. Both have the same path.
    """
    either = " || ".join(_has_annotation(variable) for variable in ("object", "oldObject"))
    user = options.controller_user
    # What the controller writes is up to date already.
    others = (MatchCondition("not-our-controller", f"request.userInfo.username != '{user}'"),) if user else ()
    opted_in = (MatchCondition("is-or-was-opted-in", either), *others)
    not_opted_in = (MatchCondition("is-not-opted-in-by-itself", f"!({either})"), *others)
    listed = options.policy_namespaces
    registrations = [(kind, _registration(kind, "", opted_in, ())) for kind in kinds]
    registrations += [(kind, _registration(kind, "listed-", not_opted_in, listed)) for kind in kinds if listed]
    return tuple(Webhook(made, kind.object_type, WorkloadMutator.mutate) for kind, made in registrations)


def _has_annotation(variable: str) -> str:
    keys = ", ".join(f"'{key}'" for key in _SENT_BY)
    return (
        f"({variable} != null && has({variable}.metadata) && has({variable}.metadata.annotations)"
        f" && [{keys}].exists(key, key in {variable}.metadata.annotations))"
    )


def _registration(
    kind: WorkloadKind, prefix: str, conditions: tuple[MatchCondition, ...], namespaces: tuple[str, ...]
) -> Registration:
    return Registration(
        name=f"mutate-{prefix}{kind.plural}",
        type=WebhookType.MUTATING,
        path=MUTATE_PREFIX + kind.plural,
        rules=(Rule((Operation.CREATE, Operation.UPDATE), kind.group, (kind.version,), (kind.plural,)),),
        # Checksums that are not written while the server is down are written by the controller.
        failure_policy=FailurePolicy.IGNORE,
        side_effects=SideEffects.NONE,
        match_conditions=conditions,
        reinvoke=True,
        excludes_system=True,
        namespaces=namespaces,
    )


def _rules(kinds: tuple[WorkloadKind, ...], access: AccessOptions) -> ProgramRules:
    """Return the RBAC rules: Secrets and ConfigMaps are never written, and no more of them is read than was chosen."""
    groups = dict.fromkeys(kind.group for kind in kinds)
    workloads: list[PolicyRule] = [
        {
            "apiGroups": [group],
            "resources": [kind.plural for kind in kinds if kind.group == group],
            "verbs": [*_WATCH, "patch"],
        }
        for group in groups
    ]
    events: PolicyRule = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}
    return ProgramRules(
        server=tuple(_read_rules(access, _READ)), controller=(*_read_rules(access, _WATCH), *workloads, events)
    )


def _read_rules(access: AccessOptions, verbs: tuple[str, ...]) -> list[PolicyRule]:
    plurals = [kind.plural for kind in SourceKind]
    if access.access is not Access.NAMES:
        return [{"apiGroups": [""], "resources": plurals, "verbs": [*verbs]}]
    return [
        {"apiGroups": [""], "resources": [plural], "resourceNames": sorted(set(names)), "verbs": [*verbs]}
        for plural in plurals
        # A rule without names would allow all of them.
        if (names := access.names.get(plural))
    ]


CHECKSUMS: Final = checksums_feature()
