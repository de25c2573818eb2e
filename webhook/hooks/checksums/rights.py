"""What checksums need to be allowed, by RBAC: never to write a Secret or ConfigMap, and to read no more than is chosen.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources. A list or watch with the
field selector `metadata.name=…` counts as one of that name, so `resourceNames` can allow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from webhook.hooks.checksums.controller.scope import Access
from webhook.hooks.checksums.controller.stored import KINDS
from webhook.hooks.checksums.core.keys import Source, SourceKind

#: A `PolicyRule` of rbac.authorization.k8s.io/v1.
PolicyRule: TypeAlias = dict[str, Any]

_READ: Final = ("get",)
_WATCH: Final = ("get", "list", "watch")


def server_rules(access: Access, sources: Sequence[Source] = ()) -> list[PolicyRule]:
    """What the admission server needs in a namespace that it serves.

    Args:
        access: How far it may look.
        sources: The Secrets and ConfigMaps, where it is by name.
    """
    return _reads(access, sources, _READ)


def controller_rules(access: Access, sources: Sequence[Source] = ()) -> list[PolicyRule]:
    """What the controller needs in a namespace that it looks after; arguments as of `server_rules`."""
    return [
        *_reads(access, sources, _WATCH),
        {"apiGroups": ["apps"], "resources": [*KINDS], "verbs": [*_WATCH, "patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]


def _reads(access: Access, sources: Sequence[Source], verbs: tuple[str, ...]) -> list[PolicyRule]:
    if access is not Access.NAMES:
        return [{"apiGroups": [""], "resources": [kind.plural for kind in SourceKind], "verbs": [*verbs]}]
    names = {kind: sorted({source.name for source in sources if source.kind is kind}) for kind in SourceKind}
    return [
        {"apiGroups": [""], "resources": [kind.plural], "resourceNames": chosen, "verbs": [*verbs]}
        for kind, chosen in names.items()
        # No names would mean all of them.
        if chosen
    ]
