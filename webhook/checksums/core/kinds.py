"""The kinds of workloads: one row per kind.

Webhook registrations, RBAC rules, watches, API paths, `rollonce render`, command line arguments, patches, the judgement
of rollouts and Events all follow from the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from webhook.checksums.core.objects import StoredWorkload, WorkloadObject, stored_type, workload_type
from webhook.checksums.core.rollout import (
    Rollout,
    daemon_set_rollout,
    deployment_rollout,
    no_rollout,
    replaces_no_pods,
    replaces_replicas,
    replaces_scheduled_pods,
    stateful_set_rollout,
)


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKind:
    """A kind of workload, identified by its group and name.

    Attributes:
        group: The API group, such as `apps`; empty for the core group.
        name: The kind, such as `Deployment`.
        version: The version of the group.
        plural: The resource, such as `deployments`.
        short_names: Further words by which kubectl accepts the kind.
        template_path: The path of the pod template in the object, beginning with `spec`.
        can_pause: Whether `spec.paused` stops rollouts, so that a workload can be held.
        rollout: Returns the progress of a stored workload's rollout.
        replaces_pods: Returns whether a new pod template of a stored workload would replace pods now.
    """

    group: str
    name: str
    version: str = field(compare=False)
    plural: str = field(compare=False)
    short_names: tuple[str, ...] = field(default=(), compare=False)
    template_path: tuple[str, ...] = field(default=("spec", "template"), compare=False)
    can_pause: bool = field(default=False, compare=False)
    rollout: Callable[[StoredWorkload], Rollout] = field(default=no_rollout, compare=False, repr=False)
    replaces_pods: Callable[[StoredWorkload], bool] = field(default=replaces_no_pods, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Reject a path that no workload can have."""
        if len(self.template_path) < 2 or self.template_path[0] != "spec":
            raise ValueError("the path of the pod template must begin with spec")

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def annotations_path(self) -> tuple[str, ...]:
        """The path of the pod template's annotations in the object."""
        return (*self.template_path, "metadata", "annotations")

    @property
    def object_type(self) -> type[WorkloadObject]:
        """The struct of its objects under admission."""
        return workload_type(self.template_path)

    @property
    def stored_type(self) -> type[StoredWorkload]:
        """The struct of its stored objects."""
        return stored_type(self.template_path)

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the API path of an object, of the collection of a namespace, or of that of the whole cluster."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")

    def is_called(self, word: str) -> bool:
        """Return whether kubectl would accept the word for this kind; case does not matter."""
        return word.lower() in {self.plural, self.name.lower(), *self.short_names}


DEPLOYMENT: Final = WorkloadKind(
    "apps",
    "Deployment",
    "v1",
    "deployments",
    ("deploy",),
    can_pause=True,
    rollout=deployment_rollout,
    replaces_pods=replaces_replicas,
)
STATEFUL_SET: Final = WorkloadKind(
    "apps",
    "StatefulSet",
    "v1",
    "statefulsets",
    ("sts",),
    rollout=stateful_set_rollout,
    replaces_pods=replaces_replicas,
)
DAEMON_SET: Final = WorkloadKind(
    "apps",
    "DaemonSet",
    "v1",
    "daemonsets",
    ("ds",),
    rollout=daemon_set_rollout,
    replaces_pods=replaces_scheduled_pods,
)

#: The kinds that are served; webhooks, rules and watches are listed in this order.
KINDS: Final = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET)


@dataclass(frozen=True, slots=True, order=True)
class WorkloadId:
    """The identity of a workload; its text is `namespace/kind/name` with the kind in lower case.

    Attributes:
        namespace: Its namespace.
        kind: Its kind, with the API group.
        name: Its `metadata.name`.
    """

    namespace: str
    kind: WorkloadKind
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.short}"

    @property
    def short(self) -> str:
        """Its text without the namespace, such as `deployment/web`."""
        return f"{self.kind.name.lower()}/{self.name}"

    @property
    def path(self) -> str:
        """Its API path."""
        return self.kind.path(self.namespace, self.name)


def kind_called(word: str, kinds: Iterable[WorkloadKind] = KINDS) -> WorkloadKind | None:
    """Return the kind that kubectl would understand by a word such as `deploy`."""
    return next((kind for kind in kinds if kind.is_called(word)), None)


def kind_of(group: str, name: str, kinds: Iterable[WorkloadKind] = KINDS) -> WorkloadKind | None:
    """Return the kind with this group and name."""
    return next((kind for kind in kinds if (kind.group, kind.name) == (group, name)), None)
