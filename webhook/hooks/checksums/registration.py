"""How the API server is told of the webhook for workloads.

Only workloads that opted in are sent, and those that did until this very request, so that opting out is seen.
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
from webhook.hooks.checksums.core.keys import CONFIG_MAPS, HELD, MANAGED, SECRETS

MUTATE_PREFIX: Final = "/mutate/"

_OPT_IN: Final = (SECRETS, CONFIG_MAPS, MANAGED, HELD)


def _is_opted_in(variable: str) -> str:
    keys = ", ".join(f"'{key}'" for key in _OPT_IN)
    return (
        f"({variable} != null && has({variable}.metadata) && has({variable}.metadata.annotations)"
        f" && [{keys}].exists(key, key in {variable}.metadata.annotations))"
    )


def registrations(
    resources: tuple[str, ...], *, controller: str = "", listed: tuple[str, ...] = ()
) -> tuple[Registration, ...]:
    """Describe the webhook.

    Args:
        resources: Plural names of the workloads, such as `deployments`; each is served at a path of its own.
        controller: The user name of our controller's ServiceAccount, whose writes are right already.
        listed: The namespaces of the operator's list, where every workload is sent: nothing of itself says which are
            opted in. They get a webhook of their own, for what the other one does not match.
    """
    either = " || ".join(_is_opted_in(variable) for variable in ("object", "oldObject"))
    ours = MatchCondition("not-our-controller", f"request.userInfo.username != '{controller}'")
    others = (ours,) if controller else ()
    opted_in = [
        _registration(resource, "", (MatchCondition("is-or-was-opted-in", either), *others)) for resource in resources
    ]
    conditions = (MatchCondition("is-not-opted-in-by-itself", f"!({either})"), *others)
    by_list = [_registration(resource, "listed-", conditions, listed) for resource in resources if listed]
    return (*opted_in, *by_list)


def _registration(
    resource: str, prefix: str, conditions: tuple[MatchCondition, ...], namespaces: tuple[str, ...] = ()
) -> Registration:
    return Registration(
        name=f"mutate-{prefix}{resource}",
        type=WebhookType.MUTATING,
        path=MUTATE_PREFIX + resource,
        rules=(Rule((Operation.CREATE, Operation.UPDATE), "apps", ("v1",), (resource,)),),
        # What is left out while we are down is repaired by the controller.
        failure_policy=FailurePolicy.IGNORE,
        side_effects=SideEffects.NONE,
        match_conditions=conditions,
        reinvoke=True,
        spares_system=True,
        namespaces=namespaces,
    )
