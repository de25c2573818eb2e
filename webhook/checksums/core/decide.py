"""The decision: what a workload should look like, given what it requires and what the sources contain.

One function serves both a client's write (admission) and the controller's comparison of what is stored, so that the two
always agree. It is idempotent: the object that its patch makes needs no further patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

from webhook.admission.patch import PatchOperation
from webhook.admission.response import Status
from webhook.checksums.core import messages
from webhook.checksums.core.inputs import Absent, DecisionInput, Found, MissingPolicy, Reading, Trigger, Unreadable
from webhook.checksums.core.keys import HELD, MANAGED, PROGRESS, RESUMED, ROLLED, Source, format_managed
from webhook.checksums.core.marks import RolloutMark, contents_digest


@dataclass(frozen=True, slots=True)
class Resolution:
    """The checksums that a workload should have, and the sources without one.

    Attributes:
        checksums: By annotation key.
        missing: Required sources that are absent and never had a checksum.
        disappeared: Required sources that are absent and had a checksum, which is kept.
        unreadable: Each with the reason.
        waiting: Required sources that were not found just now, for any reason.
    """

    checksums: Mapping[str, str]
    missing: tuple[Source, ...] = ()
    disappeared: tuple[Source, ...] = ()
    unreadable: tuple[tuple[Source, str], ...] = ()
    waiting: tuple[Source, ...] = ()


NO_CHECKSUMS: Final = Resolution({})


class Hold(Enum):
    """What the decision does about a workload that may not start yet.

    Attributes:
        NONE: Nothing.
        PLACED: It is paused.
        KEPT: It stays paused.
        RELEASED: Its pause ends.
        YIELDED: Somebody else has paused it too, and that pause stays.
    """

    NONE = "none"
    PLACED = "placed"
    KEPT = "kept"
    RELEASED = "released"
    YIELDED = "yielded"


#: Whether a workload should be paused; None leaves it as it is.
_PAUSED: Final = {Hold.NONE: None, Hold.PLACED: True, Hold.KEPT: True, Hold.RELEASED: False, Hold.YIELDED: None}


@dataclass(frozen=True, slots=True)
class WorkloadDecision:
    """The result of `decide`.

    Attributes:
        operations: The patch; empty if nothing changes or the write is refused.
        warnings: For the client.
        refusal: Why the write is refused, if it is.
        resolution: The checksums that it is based on.
        changed: Required sources whose checksum in the pod template changes.
        removed: Keys that are removed from the pod template.
        hold: What happens about holding the workload.
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
        """The annotation keys of the pod template that change; if there are any, pods are replaced."""
        return frozenset({source.key for source in self.changed} | set(self.removed))


NOTHING_DECIDED: Final = WorkloadDecision()


def decide(inputs: DecisionInput, readings: Mapping[Source, Reading]) -> WorkloadDecision:
    """Decide what a workload should look like.

    Args:
        inputs: The workload, what it requires, and the rules.
        readings: What was read, for each source of `inputs.to_read`.
    """
    if inputs.workload.deleting:
        return WorkloadDecision()
    resolution = _resolve(inputs, readings)
    if refusal := _refusal(inputs, resolution):
        return WorkloadDecision(refusal=refusal, resolution=resolution)
    hold = _hold(inputs, resolution)
    template = _template_annotations(inputs, resolution.checksums)
    changed = _changed(inputs, template)
    removed = tuple(sorted(inputs.workload.template_annotations.keys() - template.keys()))
    return WorkloadDecision(
        operations=inputs.workload.patch(
            annotations=_annotations(inputs, resolution, hold, rolls=bool(changed or removed)),
            template_annotations=template,
            paused=_PAUSED[hold],
        ),
        warnings=_warnings(inputs, resolution, template, hold),
        resolution=resolution,
        changed=changed,
        removed=removed,
        hold=hold,
    )


def _resolve(inputs: DecisionInput, readings: Mapping[Source, Reading]) -> Resolution:
    """Return the checksums that a workload should have."""
    if inputs.keeps_stored:
        return Resolution({key: value for key in inputs.owned if (value := inputs.stored(key)) is not None})
    checksums: dict[str, str] = {}
    missing: list[Source] = []
    disappeared: list[Source] = []
    unreadable: list[tuple[Source, str]] = []
    waiting: list[Source] = []
    for requirement in inputs.requirements.items:
        source, key = requirement.source, requirement.source.key
        stored = inputs.stored(key)
        reading = Found(requirement.provided) if requirement.provided else readings[source]
        value = reading.checksum if isinstance(reading, Found) else stored
        if value is not None:
            checksums[key] = value
        if isinstance(reading, Unreadable):
            unreadable.append((source, reading.why))
        elif isinstance(reading, Absent) and not requirement.optional:
            (missing if stored is None else disappeared).append(source)
        if not (isinstance(reading, Found) or requirement.optional):
            waiting.append(source)
    return Resolution(checksums, tuple(missing), tuple(disappeared), tuple(unreadable), tuple(waiting))


def _refusal(inputs: DecisionInput, resolution: Resolution) -> Status | None:
    # What is stored cannot be refused, and a write about something else has not caused the problem.
    if inputs.trigger is Trigger.RECONCILE or not inputs.touched:
        return None
    policy, workload = inputs.rules.missing, inputs.workload
    problems = inputs.requirements.problems if policy is MissingPolicy.DENY else ()
    sentence: Callable[[Source], str] | None = None
    if policy is MissingPolicy.DENY:
        sentence = messages.refused
    elif policy is MissingPolicy.HOLD and not workload.kind.can_pause:
        sentence = messages.cannot_hold
    elif policy is MissingPolicy.HOLD and inputs.trigger is Trigger.CREATE and workload.manifest_pause is not None:
        sentence = partial(messages.may_not_hold, paused=workload.manifest_pause)
    absences = [sentence(source) for source in resolution.missing] if sentence else []
    return messages.refusal(problems, absences) if problems or absences else None


def _hold(inputs: DecisionInput, resolution: Resolution) -> Hold:
    workload = inputs.workload
    holding = inputs.rules.missing is MissingPolicy.HOLD
    if inputs.held:
        return Hold.KEPT if holding and resolution.waiting else Hold.RELEASED
    if workload.paused and (HELD in workload.annotations or (inputs.old is not None and inputs.old.held)):
        return Hold.YIELDED if workload.kind.can_pause else Hold.NONE
    # A workload that its author paused does not start by itself, and rollonce must not resume it later. A source that
    # cannot be read may exist: it keeps a hold, but places none.
    may_hold = inputs.trigger is Trigger.CREATE and workload.kind.can_pause and not workload.paused
    return Hold.PLACED if holding and may_hold and resolution.missing else Hold.NONE


def _annotations(inputs: DecisionInput, resolution: Resolution, hold: Hold, *, rolls: bool) -> dict[str, str]:
    dropped = {MANAGED, HELD}
    if rolls:
        dropped.add(ROLLED)
    if not resolution.checksums or inputs.trigger is Trigger.CREATE:
        # A new workload that has them is a copy of another one.
        dropped |= {PROGRESS, RESUMED, ROLLED}
    annotations = {key: value for key, value in inputs.workload.annotations.items() if key not in dropped}
    if resolution.checksums:
        annotations[MANAGED] = format_managed(resolution.checksums)
        if rolls and (standing := inputs.standing):
            contents = contents_digest(resolution.checksums)
            annotations[ROLLED] = str(RolloutMark(contents, standing.rollout_number, standing.broken))
    if hold in {Hold.PLACED, Hold.KEPT}:
        annotations[HELD] = messages.held_because(resolution.waiting)
    return annotations


def _template_annotations(inputs: DecisionInput, checksums: Mapping[str, str]) -> dict[str, str]:
    owned = inputs.owned
    others = {key: value for key, value in inputs.workload.template_annotations.items() if key not in owned}
    return others | dict(checksums)


def _changed(inputs: DecisionInput, template: Mapping[str, str]) -> tuple[Source, ...]:
    before = (inputs.old or inputs.workload).template_annotations
    sources = (requirement.source for requirement in inputs.requirements.items)
    return tuple(
        source for source in sources if source.key in template and template[source.key] != before.get(source.key)
    )


def _warnings(
    inputs: DecisionInput, resolution: Resolution, template: Mapping[str, str], hold: Hold
) -> tuple[str, ...]:
    lines = [f"{problem}; it is ignored." for problem in inputs.requirements.problems if not inputs.keeps_stored]
    if hold in {Hold.PLACED, Hold.KEPT}:
        lines.append(messages.held(resolution.waiting))
    else:
        lines += [messages.YIELDED] if hold is Hold.YIELDED else []
        lines += map(messages.missing, resolution.missing)
        lines += map(messages.disappeared, resolution.disappeared)
    if resolution.waiting and inputs.old and inputs.old.held and not inputs.workload.paused:
        lines.append(messages.RESUMED_BY_HAND)
    lines += (
        messages.unreadable(source, why, kept=source.key in resolution.checksums)
        for source, why in resolution.unreadable
    )
    if kept := _kept_in_spite_of_undo(inputs, template):
        lines.append(messages.undo_changes_nothing(kept))
    return tuple(lines)


def _kept_in_spite_of_undo(inputs: DecisionInput, template: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys for which the write brings other checksums than the stored ones, if it changes nothing at all."""
    old = inputs.old
    if old is None or inputs.touched or template != old.template_annotations:
        return ()
    written, stored = inputs.workload.template_annotations, old.template_annotations
    return tuple(key for key in old.managed if key in written and written[key] != stored.get(key))
