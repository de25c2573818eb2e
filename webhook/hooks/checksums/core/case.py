"""One write, or one look, that there is a decision to make about."""

from __future__ import annotations

from dataclasses import dataclass

from webhook.hooks.checksums.core.facts import Occasion, Rules
from webhook.hooks.checksums.core.keys import Source
from webhook.hooks.checksums.core.optin import OPT_IN_ANNOTATIONS, Requirements
from webhook.hooks.checksums.core.workload import Workload


@dataclass(frozen=True, slots=True)
class Case:
    """What there is to decide.

    Attributes:
        occasion: Why.
        workload: As it would be stored; for `RECONCILE`, as it is stored.
        old: As it is stored; only for `UPDATE`.
        requirements: What the workload wants.
        rules: What the operator has chosen.
        touched: Whether this write changes the pod template, checksums aside, or the opt-in, or finds the workload
            held; True if it is no update.
    """

    occasion: Occasion
    workload: Workload
    old: Workload | None
    requirements: Requirements
    rules: Rules
    touched: bool

    @classmethod
    def of(
        cls,
        occasion: Occasion,
        workload: Workload,
        old: Workload | None,
        requirements: Requirements,
        rules: Rules,
    ) -> Case:
        """Look at a write and what it changes."""
        touched = old is None or old.held or _differ(workload, old, requirements)
        return cls(occasion, workload, old, requirements, rules, touched)

    @property
    def keeps_stored(self) -> bool:
        """Whether the stored checksums stay as they are, whatever the sources hold.

        Where workloads roll a few at a time, a write that is about something else must not jump the queue.
        """
        return self.rules.staged and not self.touched

    @property
    def to_read(self) -> tuple[Source, ...]:
        """The sources whose current contents the decision needs."""
        return () if self.workload.deleting or self.keeps_stored else self.requirements.to_read

    @property
    def owned(self) -> frozenset[str]:
        """The checksum keys of the pod template that are rollonce's to change or remove."""
        return _owned(self.workload, self.old)

    def stored(self, key: str) -> str | None:
        """The last value that rollonce wrote under a key, None if there is none."""
        last = self.workload if self.occasion is Occasion.RECONCILE else self.old
        return last.template_annotations.get(key) if last and key in last.managed else None


def _owned(workload: Workload, old: Workload | None) -> frozenset[str]:
    if old is None:
        return workload.managed
    # The stored list counts even if this write loses it, or keys would be left behind that nobody owns. The written
    # list can claim what the write brings along, but not what somebody else had put there before.
    return old.managed | (workload.managed - old.template_annotations.keys())


def _differ(workload: Workload, old: Workload, requirements: Requirements) -> bool:
    ours = _owned(workload, old) | {requirement.source.key for requirement in requirements.wanted}
    said = any(workload.annotations.get(name) != old.annotations.get(name) for name in OPT_IN_ANNOTATIONS)
    return said or not workload.same_template(old, ignoring=ours)
