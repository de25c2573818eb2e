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

MUTATE_PREFIX: Final = "/mutate/"

_OPT_IN: Final = tuple(
    f"rollout-checksums.proompteng.ai/{name}" for name in ("secrets", "configmaps", "managed", "held")
)


def _is_opted_in(variable: str) -> str:
    keys = ", ".join(f"'{key}'" for key in _OPT_IN)
    return (
        f"({variable} != null && has({variable}.metadata) && has({variable}.metadata.annotations)"
        f" && [{keys}].exists(key, key in {variable}.metadata.annotations))"
    )


def registrations(resources: tuple[str, ...], *, controller: str = "", every: bool = False) -> tuple[Registration, ...]:
    """Describe the webhook.

    Args:
        resources: Plural names of the workloads, such as `deployments`; each is served at a path of its own.
        controller: The user name of our controller's ServiceAccount, whose writes are right already.
        every: Send every workload, not only those with annotations: needed where the operator's list opts them in.
    """
    conditions: tuple[MatchCondition, ...] = ()
    if not every:
        either = " || ".join(_is_opted_in(variable) for variable in ("object", "oldObject"))
        conditions += (MatchCondition("is-or-was-opted-in", either),)
    if controller:
        conditions += (MatchCondition("not-our-controller", f"request.userInfo.username != '{controller}'"),)
    return tuple(
        Registration(
            name=f"mutate-{resource}",
            type=WebhookType.MUTATING,
            path=MUTATE_PREFIX + resource,
            rules=(Rule((Operation.CREATE, Operation.UPDATE), "apps", ("v1",), (resource,)),),
            # What is left out while we are down is repaired by the controller.
            failure_policy=FailurePolicy.IGNORE,
            side_effects=SideEffects.NONE,
            match_conditions=conditions,
            reinvoke=True,
            spares_system=True,
        )
        for resource in resources
    )
