"""What a decision is made of: the trigger, the workload, what was read, and the operator's rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from webhook.checksums.core.keys import HELD, Source
from webhook.checksums.core.optin import OPT_IN_ANNOTATIONS, Requirements
from webhook.checksums.core.pause import KUBECTL_PATCH
from webhook.checksums.core.workload import Workload


@dataclass(frozen=True, slots=True)
class Found:
    """The source exists.

    Attributes:
        checksum: The checksum of its current contents.
    """

    checksum: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The API server answered that the source does not exist."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """It is unknown whether the source exists: reading was forbidden, took too long, or failed.

    Attributes:
        why: A few words without any contents, such as `HTTP 403`.
    """

    why: str


Reading: TypeAlias = Found | Absent | Unreadable


class MissingPolicy(Enum):
    """What happens to a write that requires an object which does not exist."""

    WARN = "warn"
    DENY = "deny"
    HOLD = "hold"


class Trigger(Enum):
    """Why a decision is made: a client's write, or the controller's comparison of what is stored."""

    CREATE = "create"
    UPDATE = "update"
    RECONCILE = "reconcile"


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's choices.

    Attributes:
        missing: What happens if a required object does not exist.
        staged: Whether workloads roll a few at a time; then only the controller starts rollouts.
    """

    missing: MissingPolicy = MissingPolicy.WARN
    staged: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What a workload is like before the controller gives it new contents.

    Attributes:
        rollout_number: The number of its rollout.
        broken: Whether its rollout has failed, and not because of its present contents.
    """

    rollout_number: int
    broken: bool


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """Input of `decide`, without the readings.

    Attributes:
        trigger: Why the decision is made.
        workload: As it would be stored; for `RECONCILE`, as it is stored.
        old: As it is stored; only for `UPDATE`.
        requirements: The checksums that the workload should have.
        rules: The operator's choices.
        touched: Whether this write changes the pod template (apart from checksums) or the opt-in, or the workload is
            held; always True without an old workload.
        standing: What the workload is like; only for `RECONCILE`, if workloads roll a few at a time.
        repeats_pause: Whether this write says nothing but `paused: true` about a workload that is held.
    """

    trigger: Trigger
    workload: Workload
    old: Workload | None
    requirements: Requirements
    rules: Rules
    touched: bool
    standing: Standing | None = None
    repeats_pause: bool = False

    @classmethod
    def of(
        cls,
        trigger: Trigger,
        workload: Workload,
        old: Workload | None,
        requirements: Requirements,
        rules: Rules,
        *,
        writer: str = "",
        standing: Standing | None = None,
    ) -> DecisionInput:
        """Return the input, with what the write changes.

        Args:
            trigger: Why the decision is made.
            workload: As it would be stored.
            old: As it is stored.
            requirements: The checksums that the workload should have.
            rules: The operator's choices.
            writer: The field manager of the write.
            standing: What the workload is like, if the controller may start a rollout of it.
        """
        held = old is not None and old.held
        touched = old is None or held or _differ(workload, old, requirements)
        # What `kubectl patch` sends is not known here. If it changes nothing, it may have said what is so already.
        repeats_pause = held and writer == KUBECTL_PATCH and old is not None and workload.is_same(old)
        return cls(trigger, workload, old, requirements, rules, touched, standing, repeats_pause)

    @property
    def keeps_stored(self) -> bool:
        """Whether the stored checksums stay, for any contents of the sources.

        If workloads roll a few at a time, a write about something else must not start a rollout before its turn.
        """
        return self.rules.staged and not self.touched

    @property
    def concerns_checksums(self) -> bool:
        """Whether rollonce has written to the workload, or may have to."""
        workload, requirements = self.workload, self.requirements
        return bool(requirements.items or requirements.problems or workload.managed or HELD in workload.annotations)

    @property
    def held(self) -> bool:
        """Whether the workload is paused by rollonce, and by nobody else."""
        return self.workload.held and not self.repeats_pause

    @property
    def to_read(self) -> tuple[Source, ...]:
        """The sources whose current contents the decision needs."""
        return () if self.workload.deleting or self.keeps_stored else self.requirements.to_read

    @property
    def owned(self) -> frozenset[str]:
        """The checksum keys of the pod template that rollonce may change or remove."""
        return _owned(self.workload, self.old)

    def stored(self, key: str) -> str | None:
        """Return the last value that rollonce wrote under a key, None if there is none."""
        last = self.workload if self.trigger is Trigger.RECONCILE else self.old
        return last.template_annotations.get(key) if last and key in last.managed else None


def _owned(workload: Workload, old: Workload | None) -> frozenset[str]:
    if old is None:
        return workload.managed
    # The stored list counts even if this write drops it: otherwise keys would remain that nothing removes. The written
    # list counts for keys that the write adds, but not for keys that others had put there before.
    return old.managed | (workload.managed - old.template_annotations.keys())


def _differ(workload: Workload, old: Workload, requirements: Requirements) -> bool:
    keys = _owned(workload, old) | {requirement.source.key for requirement in requirements.items}
    opt_in = any(workload.annotations.get(name) != old.annotations.get(name) for name in OPT_IN_ANNOTATIONS)
    return opt_in or not workload.same_template(old, ignoring=keys)
