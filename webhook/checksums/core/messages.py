"""Texts for users: names only, never contents, never a checksum."""

from __future__ import annotations

from collections.abc import Iterable

from webhook.admission.response import Status, StatusCause, StatusDetails
from webhook.checksums.core.keys import HELD, PREFIX, Source
from webhook.checksums.core.kinds import WorkloadId
from webhook.checksums.core.optin import Problem

YIELDED = (
    "It is no longer held, because it was paused by hand: it stays paused until it is resumed (kubectl rollout resume)."
)
STALLED = "The rollout has made no progress for too long: it counts as failed, and holds no place any more."
RESUMED_BY_HAND = "It is no longer held: its rollout was resumed by hand."


def undo_changes_nothing(keys: Iterable[str]) -> str:
    """Return the warning about a write that brings other checksums, which are not taken, and nothing else.

    Args:
        keys: The keys whose stored checksums are kept.
    """
    return (
        "This revision differs from the present one only in checksums, and these are kept as they are stored: "
        f"{', '.join(sorted(keys))}. Nothing rolls back. Restore the Secret or ConfigMap itself."
    )


def held_because(sources: Iterable[Source]) -> str:
    """Return the value of the annotation that says why a workload is held."""
    return "waiting for " + ", ".join(map(str, sources))


def missing(source: Source) -> str:
    """Return the warning about a required object that does not exist."""
    return f"{_named(source)} does not exist. Its checksum is added, with one more rollout, when it appears."


def disappeared(source: Source) -> str:
    """Return the warning about a required object that existed and was deleted."""
    return f"{_named(source)} does not exist any more. Its last checksum is kept."


def unreadable(source: Source, why: str, *, kept: bool) -> str:
    """Return the warning about an object that could not be read."""
    then = "Its last checksum is kept." if kept else "Its checksum is missing until it can be read."
    return f"{_named(source)} could not be read ({why}). {then}"


def held(sources: Iterable[Source]) -> str:
    """Return the message about a workload that is kept paused."""
    names = ", ".join(map(_named, sources))
    return (
        f"Kept paused until there is {names}; then it starts by itself. To start it now: kubectl rollout resume. To "
        f"keep it paused: remove the annotation {HELD}."
    )


def rolled(changed: Iterable[Source], removed: Iterable[str], *, released: bool, paused: bool) -> str:
    """Return the message about a write of a workload.

    Args:
        changed: The objects whose new contents were written.
        removed: The keys that were removed.
        released: Whether it was paused by rollonce, and is started.
        paused: Whether it was paused before the write.
    """
    parts = [f"new contents of {names}"] if (names := ", ".join(map(_named, changed))) else []
    parts += [f"no longer wanted: {names}"] if (names := ", ".join(removed)) else []
    because = f" ({'; '.join(parts)})" if parts else ""
    if released:
        return f"No longer held, and started{because}."
    return f"Written{because}; rolled out when it is resumed." if paused else f"Rolled out{because}."


def reverted(keys: Iterable[str]) -> str:
    """Return the message about a patch that the API server accepted, and that changed nothing."""
    names = ", ".join(keys) or "the annotations of the workload"
    return (
        f"Not rolled out: an admission webhook restored the old value of {names}. It is tried again, with growing "
        "delays. If that webhook is rollonce's own, its configuration must leave out the writes of the controller: "
        "apply the output of rollonce webhooks."
    )


def stopped(key: str, waiting: int, failed: WorkloadId) -> str:
    """Return the message about a failed rollout that stops other workloads.

    Args:
        key: The annotation key of the object whose contents it failed with.
        waiting: How many workloads wait.
        failed: The workload whose rollout failed.
    """
    resume = f"rollonce checksums resume {failed.short} -n {failed.namespace}"
    return (
        f"The rollout failed with new contents of {key}. {waiting} waiting workloads are not rolled until it recovers, "
        f"the object changes again, or: {resume}"
    )


def unmanaged(key: str, workload: WorkloadId) -> str:
    """Return the note about a key in a pod template that looks like those of rollonce."""
    command = f"rollonce checksums remove {workload.short} -n {workload.namespace} --unmanaged"
    return f"{key} is neither wanted nor managed: another client wrote it. To remove it: {command}"


def not_among_manifests(source: Source) -> str:
    """Return the complaint about an object of which `rollonce render` has no contents."""
    return (
        f"{source} is not among the manifests. Add it to them, read it by --from-cluster, or provide its checksum: as "
        f"{source.name}=<64 hex digits> in the annotation {PREFIX}{source.kind.plural}, or in the operator's list."
    )


def cannot_hold(source: Source) -> str:
    """Return why a write is refused that would be held if its kind had a pause."""
    return f"{_named(source)} does not exist, and a workload of this kind cannot be held until it does"


def may_not_hold(source: Source, *, paused: bool) -> str:
    """Return why a write is refused that would be held if its manifest did not have a value of `paused`."""
    return (
        f"{_named(source)} does not exist, and the manifest says paused: {str(paused).lower()}, so that the workload "
        "cannot be held until it does (take that line out, or create the object first)"
    )


def refused(source: Source) -> str:
    """Return why a write is refused."""
    return f"{_named(source)} does not exist (create it first)"


def refusal(problems: Iterable[Problem], absences: Iterable[str]) -> Status:
    """Return the status of a refused write.

    Of a status 403 kubectl shows the message, of 422 only the causes, so both say the same.

    Args:
        problems: Words that are not understood.
        absences: Sentences about objects that do not exist, without a full stop.
    """
    invalid = tuple(StatusCause("FieldValueInvalid", str(problem), problem.field) for problem in problems)
    causes = (*invalid, *(StatusCause("FieldValueNotFound", absence) for absence in absences))
    message = "; ".join(cause.message for cause in causes) + "."
    reason, code = ("Invalid", 422) if invalid else ("Forbidden", 403)
    return Status(message, reason, code, details=StatusDetails(causes=causes))


def _named(source: Source) -> str:
    return f'{source.kind.title} "{source.name}"'
