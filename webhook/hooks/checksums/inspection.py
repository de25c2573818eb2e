"""What an operator asks about checksums, and the two things that he writes: looked up live, by the same decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import msgspec

from webhook.admission.deadline import Deadline
from webhook.admission.patch import PatchOperation
from webhook.clients.api import KubernetesApi
from webhook.controller.listing import Selection, pages
from webhook.controller.objects import partial_decoder
from webhook.controller.writes import Refused, Vanished, Written, patch_json
from webhook.errors import RollonceError
from webhook.hooks.checksums.controller.stored import KINDS, MirroredWorkload, path_of
from webhook.hooks.checksums.core.case import Case
from webhook.hooks.checksums.core.decide import Hold, Outcome, decide
from webhook.hooks.checksums.core.facts import Occasion
from webhook.hooks.checksums.core.keys import RESUMED, REVISION
from webhook.hooks.checksums.core.optin import Requirements, required
from webhook.hooks.checksums.core.rollout import Rollout
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.hooks.checksums.settings import ChecksumSettings
from webhook.hooks.checksums.sources import SourceReader

FIELD_MANAGER: Final = "rollonce"
SECONDS: Final = 30.0
_READ_AT_ONCE: Final = 16

_decoder: Final = msgspec.json.Decoder(MirroredWorkload)


class State(Enum):
    """How a workload, or one of its checksums, stands."""

    CURRENT = "current"
    STALE = "stale"
    HELD = "held"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One Secret or ConfigMap that a workload depends on.

    Attributes:
        source: Such as `secret/db`.
        key: The annotation key of its checksum.
        state: Whether the pod template says what it holds now.
        provided: Whether the checksum is provided, so that nothing is read.
        optional: Whether the pods can do without it.
        why: Why it cannot be read, if it cannot.
    """

    source: str
    key: str
    state: State
    provided: bool
    optional: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadReport:
    """One workload that is opted in, or was.

    Attributes:
        namespace: Where it lives.
        workload: Such as `deployment/web`.
        state: The worst of its checksums' states; `HELD` if it is kept paused.
        rollout: How far its rollout is.
        resumed: Whether its failed rollout was resumed past.
        sources: What it depends on.
        removed: Keys that its pod template is to lose.
        notes: What people should know, a sentence each.
    """

    namespace: str
    workload: str
    state: State
    rollout: Rollout
    resumed: bool
    sources: tuple[SourceReport, ...]
    removed: tuple[str, ...]
    notes: tuple[str, ...]


class Inspector:
    """Looks at workloads as they are stored now.

    Args:
        api: The API server: list, get and patch of workloads, get of what they depend on.
        settings: What the operator has chosen.
        reader: Reads Secrets and ConfigMaps.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, api: KubernetesApi, settings: ChecksumSettings, reader: SourceReader, *, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._settings = settings
        self._reader = reader
        self._clock = clock

    async def find(self, namespaces: Iterable[str]) -> list[WorkloadId]:
        """List all workloads of some namespaces; of all if none is given.

        Raises:
            KubernetesError: They cannot be listed.
        """
        found: list[WorkloadId] = []
        for folder in [f"/apis/apps/v1/namespaces/{name}" for name in namespaces] or ["/apis/apps/v1"]:
            for plural in KINDS:
                found += [one async for one in self._list(folder, plural)]
        return sorted(found)

    async def look(self, workloads: Iterable[WorkloadId]) -> list[WorkloadReport]:
        """Report on those that are opted in, or were."""
        seats = asyncio.Semaphore(_READ_AT_ONCE)

        async def report(one: WorkloadId) -> WorkloadReport | None:
            async with seats:
                return await self.report(one)

        reports = await asyncio.gather(*map(report, workloads))
        return [one for one in reports if one is not None]

    async def report(self, one: WorkloadId) -> WorkloadReport | None:
        """Report on one; None if it is not there or has nothing to do with checksums."""
        stored = await self._get(one)
        if stored is None:
            return None
        case = self._case(one, stored, None)
        wanted, workload = case.requirements, case.workload
        if not (wanted.wanted or wanted.problems or workload.managed or workload.held):
            return None
        readings = await self._reader.read(one.namespace, case.to_read, Deadline.after(SECONDS, self._clock))
        outcome = decide(case, readings)
        observed, sources = stored.observe(one, outcome), _sources(case, outcome)
        states = [source.state for source in sources if not (source.optional and source.state is State.MISSING)]
        worst = next((state for state in reversed(State) if state in states), State.CURRENT)
        worst = State.STALE if worst is State.CURRENT and outcome.removed else worst
        return WorkloadReport(
            namespace=one.namespace,
            workload=f"{one.kind.lower()}/{one.name}",
            state=State.HELD if workload.held and outcome.hold is Hold.KEPT else worst,
            rollout=observed.rollout,
            resumed=observed.resumed,
            sources=sources,
            removed=outcome.removed,
            notes=outcome.warnings,
        )

    async def remove(self, one: WorkloadId, *, dry_run: bool) -> tuple[str, ...]:
        """Take everything of ours from a workload, and let it go if it is held; its opt-in stays.

        Returns:
            The keys that its pod template has lost; empty if there was nothing of ours.

        Raises:
            RollonceError: It could not be written.
        """
        stored = await self._get(one)
        if stored is None:
            return ()
        outcome = decide(self._case(one, stored, Requirements()), {})
        if outcome.operations and not dry_run:
            await self._write(one, stored, outcome.operations)
        return outcome.removed

    async def resume(self, one: WorkloadId) -> None:
        """Let a wave go on past a workload whose rollout failed.

        Raises:
            RollonceError: It has not failed, or could not be written.
        """
        stored = await self._get(one)
        if stored is None:
            raise RollonceError(f"There is no {one}.")
        observed = stored.observe(one, Outcome())
        if observed.rollout is not Rollout.FAILED:
            raise RollonceError(f"The rollout of {one} has not failed: there is nothing to resume.")
        annotations = dict(observed.workload.annotations)
        operations = observed.workload.annotation_patch(annotations | {RESUMED: annotations.get(REVISION, "")})
        if operations:
            await self._write(one, stored, operations)

    def _case(self, one: WorkloadId, stored: MirroredWorkload, wanted: Requirements | None) -> Case:
        workload = stored.look(one.kind)
        wanted = required(workload, self._settings.operator, one.namespace) if wanted is None else wanted
        return Case.of(Occasion.RECONCILE, workload, None, wanted, self._settings.rules)

    async def _list(self, folder: str, plural: str) -> AsyncIterator[WorkloadId]:
        selection = Selection(f"{folder}/{plural}", metadata_only=True)
        async for raws, _ in pages(self._api, selection, clock=self._clock):
            for raw in raws:
                key = partial_decoder.decode(raw).metadata.key
                yield WorkloadId(key.namespace, KINDS[plural], key.name)

    async def _get(self, one: WorkloadId) -> MirroredWorkload | None:
        reply = await self._api.get(path_of(one), Deadline.after(SECONDS, self._clock))
        if reply.status == 404:
            return None
        if not reply.ok:
            raise RollonceError(f"{one} cannot be read: the API server answered {reply.status}.")
        try:
            return _decoder.decode(reply.body)
        except msgspec.DecodeError:
            raise RollonceError(f"{one} cannot be understood.") from None

    async def _write(self, one: WorkloadId, stored: MirroredWorkload, operations: tuple[PatchOperation, ...]) -> None:
        result = await patch_json(
            self._api,
            path_of(one),
            operations,
            resource_version=stored.metadata.resource_version,
            deadline=Deadline.after(SECONDS, self._clock),
            field_manager=FIELD_MANAGER,
        )
        if isinstance(result, Refused):
            raise RollonceError(f"{one} cannot be written: the API server answered {result.status}: {result.message}")
        if not isinstance(result, Written | Vanished):
            raise RollonceError(f"{one} was written by somebody else at the same moment. Try again.")


def _sources(case: Case, outcome: Outcome) -> tuple[SourceReport, ...]:
    resolution = outcome.resolution
    unreadable, gone = dict(resolution.unreadable), (*resolution.missing, *resolution.disappeared)
    found: list[SourceReport] = []
    for wish in case.requirements.wanted:
        source = wish.source
        report = SourceReport(str(source), source.key, State.CURRENT, wish.provided is not None, wish.optional)
        if source in unreadable:
            report = replace(report, state=State.UNREADABLE, why=unreadable[source])
        elif source in gone or source.key not in resolution.checksums:
            report = replace(report, state=State.MISSING)
        elif source in outcome.changed:
            report = replace(report, state=State.STALE)
        found.append(report)
    return tuple(found)
