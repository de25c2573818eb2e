"""What the RBAC rules of a namespace depend on.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources. A list or watch with the
field selector `metadata.name=…` counts as one of that name, so `resourceNames` can allow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

#: A `PolicyRule` of rbac.authorization.k8s.io/v1.
PolicyRule: TypeAlias = dict[str, Any]


class Access(Enum):
    """Which Secrets and ConfigMaps rollonce may read.

    Attributes:
        NAMES: Those with given names, in given namespaces; `resourceNames` are enough.
        NAMESPACES: All of given namespaces.
        CLUSTER: All of all namespaces.
    """

    NAMES = "names"
    NAMESPACES = "namespaces"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """What RBAC rules are generated for.

    Attributes:
        access: Which Secrets and ConfigMaps may be read.
        names: With `Access.NAMES`: the names by plural resource, such as `{"secrets": ("db",)}`.
    """

    access: Access
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProgramRules:
    """The rules that a feature needs in a namespace that is served.

    Attributes:
        server: Rules of the admission server's ServiceAccount.
        controller: Rules of the controller's ServiceAccount.
    """

    server: tuple[PolicyRule, ...] = ()
    controller: tuple[PolicyRule, ...] = ()
