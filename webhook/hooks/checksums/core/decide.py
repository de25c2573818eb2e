"""The decision: what a workload has to look like, given what it wants and what the sources hold.

One function for a client's write (admission) and for the controller's look at what is stored, so that both always
agree. It is idempotent: the object that its patch makes needs no further patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from webhook.admission.patch import PatchOperation
from webhook.admission.response import Status
from webhook.hooks.checksums.core import messages
from webhook.hooks.checksums.core.case import Case
from webhook.hooks.checksums.core.facts import MissingPolicy, Occasion, Reading
from webhook.hooks.checksums.core.keys import HELD, MANAGED, Source, format_managed
from webhook.hooks.checksums.core.resolution import NO_CHECKSUMS, Resolution, resolve
from webhook.hooks.checksums.core.workload import Workload


class Hold(Enum):
    """What becomes of a workload that may not start yet."""

    NONE = "none"
    PLACED = "placed"
    KEPT = "kept"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision.

    Attributes:
        operations: The patch; empty if nothing is to change or the write is refused.
        warnings: For the client.
        refusal: Why the write is refused, if it is.
        resolution: The checksums it rests on.
        changed: Wanted sources whose checksum in the pod template changes.
        removed: Keys that the pod template loses.
        hold: What becomes of a hold.
    """

    operations: tuple[PatchOperation, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal: Status | None = None
    resolution: Resolution = NO_CHECKSUMS
    changed: tuple[Source, ...] = ()
    removed: tuple[str, ...] = ()
    hold: Hold = Hold.NONE

    @property
    def keys(self) -> frozenset[str]:
        """The annotation keys of the pod template that change: if there are any, the pods are replaced."""
        return frozenset({source.key for source in self.changed} | set(self.removed))


def decide(case: Case, readings: Mapping[Source, Reading]) -> Outcome:
    """Decide what a workload has to look like.

    Args:
        case: What there is to decide.
        readings: For each source of `case.to_read`, what was found.
    """
    if case.workload.deleting:
        return Outcome()
    resolution = resolve(case, readings)
    if refusal := _refusal(case, resolution):
        return Outcome(refusal=refusal, resolution=resolution)
    hold = _hold(case, resolution)
    template = _template_annotations(case, resolution.checksums)
    return Outcome(
        operations=(
            *case.workload.annotation_patch(_own_annotations(case, resolution, hold)),
            *case.workload.template_patch(template),
            *_pause_patch(case.workload, hold),
        ),
        warnings=_warnings(case, resolution, template, hold),
        resolution=resolution,
        changed=_changed(case, template),
        removed=tuple(sorted(case.workload.template_annotations.keys() - template.keys())),
        hold=hold,
    )


def _refusal(case: Case, resolution: Resolution) -> Status | None:
    # What is stored already cannot be refused, and a write about something else is not to blame for it.
    if case.occasion is Occasion.RECONCILE or not case.touched:
        return None
    policy, workload = case.rules.missing, case.workload
    problems = case.requirements.problems if policy is MissingPolicy.DENY else ()
    sentence: Callable[[Source], str] | None = None
    if policy is MissingPolicy.DENY:
        sentence = messages.refused
    elif policy is MissingPolicy.HOLD and not workload.can_pause:
        sentence = messages.cannot_hold
    elif policy is MissingPolicy.HOLD and case.occasion is Occasion.CREATE and workload.says_not_paused:
        sentence = messages.may_not_hold
    absences = [sentence(source) for source in resolution.missing] if sentence else []
    return messages.refusal(problems, absences) if problems or absences else None


def _hold(case: Case, resolution: Resolution) -> Hold:
    holding = case.rules.missing is MissingPolicy.HOLD
    if case.workload.held:
        return Hold.KEPT if holding and resolution.waiting else Hold.RELEASED
    # A workload that its author paused does not start by itself, and is not ours to release later. What cannot be read
    # may well be there: it keeps a hold, but places none.
    may_hold = case.occasion is Occasion.CREATE and case.workload.can_pause and not case.workload.paused
    return Hold.PLACED if holding and may_hold and resolution.missing else Hold.NONE


def _pause_patch(workload: Workload, hold: Hold) -> tuple[PatchOperation, ...]:
    if hold is Hold.NONE:
        return ()
    return workload.pause_patch(paused=hold is not Hold.RELEASED)


def _own_annotations(case: Case, resolution: Resolution, hold: Hold) -> dict[str, str]:
    annotations = {key: value for key, value in case.workload.annotations.items() if key not in {MANAGED, HELD}}
    if resolution.checksums:
        annotations[MANAGED] = format_managed(resolution.checksums)
    if hold in {Hold.PLACED, Hold.KEPT}:
        annotations[HELD] = messages.held_because(resolution.waiting)
    return annotations


def _template_annotations(case: Case, checksums: Mapping[str, str]) -> dict[str, str]:
    others = {key: value for key, value in case.workload.template_annotations.items() if key not in case.owned}
    return others | dict(checksums)


def _changed(case: Case, template: Mapping[str, str]) -> tuple[Source, ...]:
    before = (case.old or case.workload).template_annotations
    sources = (requirement.source for requirement in case.requirements.wanted)
    return tuple(
        source for source in sources if source.key in template and template[source.key] != before.get(source.key)
    )


def _warnings(case: Case, resolution: Resolution, template: Mapping[str, str], hold: Hold) -> tuple[str, ...]:
    lines = [f"{problem}; it is ignored." for problem in case.requirements.problems if not case.keeps_stored]
    if hold in {Hold.PLACED, Hold.KEPT}:
        lines.append(messages.held(resolution.waiting))
    else:
        lines += map(messages.missing, resolution.missing)
        lines += map(messages.disappeared, resolution.disappeared)
    if resolution.waiting and case.old and case.old.held and not case.workload.paused:
        lines.append(messages.RESUMED_BY_HAND)
    lines += (
        messages.unreadable(source, why, kept=source.key in resolution.checksums)
        for source, why in resolution.unreadable
    )
    if _is_vain_undo(case, template):
        lines.append(messages.UNDO_CHANGES_NOTHING)
    return tuple(lines)


def _is_vain_undo(case: Case, template: Mapping[str, str]) -> bool:
    """Whether the write wants other checksums than the stored ones, changes nothing else, and does not get them."""
    old = case.old
    if old is None or case.touched or template != old.template_annotations:
        return False
    asked = case.workload.template_annotations
    return any(key in asked and asked[key] != old.template_annotations.get(key) for key in old.managed)
