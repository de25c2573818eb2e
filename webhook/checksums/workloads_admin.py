"""Reports on the checksums of workloads, read live and decided as at admission, and the two changes of an operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import msgspec

from webhook.admission.patch import PatchOperation
from webhook.checksums.core.decide import Hold, WorkloadDecision, decide
from webhook.checksums.core.inputs import DecisionInput, Trigger
from webhook.checksums.core.keys import RESUMED, REVISION
from webhook.checksums.core.kinds import KINDS, WorkloadId, WorkloadKind
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.optin import Requirements, required
from webhook.checksums.core.plan import Observed
from webhook.checksums.core.rollout import Rollout
from webhook.checksums.core.workload import Workload
from webhook.checksums.settings import ChecksumSettings
from webhook.checksums.sources import SourceReader
from webhook.errors import DataError, KubernetesError, RejectedError
from webhook.kube.api import KubernetesApi
from webhook.kube.listing import Selection, pages
from webhook.kube.objects import DECODE_ERRORS, partial_decoder
from webhook.kube.writes import Refused, Vanished, Written, patch_json
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

FIELD_MANAGER: Final = "rollonce"
SECONDS: Final = 30.0
_REPORTS_AT_A_TIME: Final = 16


class State(Enum):
    """The state of a checksum, or of a workload; later ones are worse."""

    CURRENT = "current"
    STALE = "stale"
    HELD = "held"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """A Secret or ConfigMap that a workload depends on.

    Attributes:
        source: Such as `secret/db`.
        key: The annotation key of its checksum.
        state: Whether the pod template has the checksum of its current contents.
        provided: Whether the checksum is provided, so that nothing is read.
        optional: Whether the pods can start without it.
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
    """A workload that is opted in, or was.

    Attributes:
        namespace: Its namespace.
        workload: Such as `deployment/web`.
        state: The worst state of its checksums; `HELD` if it is kept paused.
        rollout: The progress of its rollout.
        resumed: Whether other workloads were resumed past its failed rollout.
        sources: What it depends on.
        removed: Keys that are to be removed from its pod template.
        notes: Sentences for users.
    """

    namespace: str
    workload: str
    state: State
    rollout: Rollout
    resumed: bool
    sources: tuple[SourceReport, ...]
    removed: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A report, and what would be written now.

    Attributes:
        report: The report.
        patch: The JSON Patch that rollonce would write; empty if nothing would change.
    """

    report: WorkloadReport
    patch: tuple[PatchOperation, ...]


class WorkloadsAdmin:
    """Report on workloads as they are stored now, and write the two changes that an operator can order.

    Args:
        api: The API server. Needs list, get and patch of workloads.
        settings: The settings.
        reader: Reads Secrets and ConfigMaps.
        clock: Monotonic time.
        kinds: The kinds of workloads.
    """

    def __init__(
        self,
        api: KubernetesApi,
        settings: ChecksumSettings,
        reader: SourceReader,
        *,
        clock: Clock,
        kinds: Sequence[WorkloadKind] = KINDS,
    ) -> None:
        self._api = api
        self._settings = settings
        self._reader = reader
        self._clock = clock
        self._kinds = kinds

    async def find(self, namespaces: Iterable[str]) -> list[WorkloadId]:
        """List all workloads of some namespaces; of all namespaces if none is given.

        Raises:
            KubernetesError: They cannot be listed.
        """
        found: list[WorkloadId] = []
        for namespace in [*namespaces] or [""]:
            for kind in self._kinds:
                found += [workload_id async for workload_id in self._list(kind, namespace)]
        return sorted(found)

    async def status(self, workloads: Iterable[WorkloadId]) -> list[WorkloadReport]:
        """Report on those workloads that are opted in, or were.

        Raises:
            KubernetesError: A workload cannot be read.
        """
        slots = asyncio.Semaphore(_REPORTS_AT_A_TIME)

        async def explain(workload_id: WorkloadId) -> Explanation | None:
            async with slots:
                return await self.explain(workload_id)

        explained = await asyncio.gather(*map(explain, workloads))
        return [explanation.report for explanation in explained if explanation is not None]

    async def explain(self, workload_id: WorkloadId) -> Explanation | None:
        """Report on one workload; None if it does not exist or has nothing to do with checksums.

        Raises:
            KubernetesError: It cannot be read.
        """
        stored = await self._get(workload_id)
        if stored is None:
            return None
        inputs = self._inputs(workload_id, stored)
        if not inputs.concerns_checksums:
            return None
        readings = await self._reader.read(workload_id.namespace, inputs.to_read, self._deadline())
        decision = decide(inputs, readings)
        observed, sources = Observed.of(workload_id, stored, decision), _sources(inputs, decision)
        states = [source.state for source in sources if not (source.optional and source.state is State.MISSING)]
        worst = next((state for state in reversed(State) if state in states), State.CURRENT)
        worst = State.STALE if worst is State.CURRENT and decision.removed else worst
        report = WorkloadReport(
            namespace=workload_id.namespace,
            workload=workload_id.short,
            state=State.HELD if inputs.workload.held and decision.hold is Hold.KEPT else worst,
            rollout=observed.rollout,
            resumed=observed.resumed,
            sources=sources,
            removed=decision.removed,
            notes=decision.warnings,
        )
        return Explanation(report, decision.operations)

    async def remove(self, workload_id: WorkloadId, *, dry_run: bool) -> tuple[str, ...]:
        """Remove everything that rollonce wrote to a workload, and resume it if it is held; its opt-in stays.

        Returns:
            The keys that are removed from its pod template; empty if rollonce wrote none.

        Raises:
            KubernetesError: It cannot be read or written.
            RejectedError: Another client wrote it at the same time.
        """
        stored = await self._get(workload_id)
        if stored is None:
            return ()
        decision = decide(self._inputs(workload_id, stored, Requirements()), {})
        if decision.operations and not dry_run:
            await self._write(workload_id, stored, decision.operations)
        return decision.removed

    async def resume(self, workload_id: WorkloadId) -> None:
        """Let other workloads roll although the rollout of this one failed.

        Raises:
            KubernetesError: It cannot be read or written.
            RejectedError: It does not exist, its rollout has not failed, or another client wrote at the same time.
        """
        stored = await self._get(workload_id)
        if stored is None:
            raise RejectedError(f"There is no {workload_id}.")
        observed = Observed.of(workload_id, stored, WorkloadDecision())
        if observed.rollout is not Rollout.FAILED:
            raise RejectedError(f"The rollout of {workload_id} has not failed: there is nothing to resume.")
        annotations = dict(observed.workload.annotations)
        operations = observed.workload.patch(annotations=annotations | {RESUMED: annotations.get(REVISION, "")})
        if operations:
            await self._write(workload_id, stored, operations)

    def _inputs(
        self, workload_id: WorkloadId, stored: StoredWorkload, requirements: Requirements | None = None
    ) -> DecisionInput:
        workload = Workload.of_stored(workload_id.kind, stored)
        if requirements is None:
            requirements = required(workload, self._settings.policy, workload_id.namespace)
        return DecisionInput.of(Trigger.RECONCILE, workload, None, requirements, self._settings.rules)

    async def _list(self, kind: WorkloadKind, namespace: str) -> AsyncIterator[WorkloadId]:
        selection = Selection(kind.path(namespace), metadata_only=True)
        async for raws, _ in pages(self._api, selection, self._deadline):
            for raw in raws:
                key = partial_decoder.decode(raw).metadata.key
                yield WorkloadId(key.namespace, kind, key.name)

    async def _get(self, workload_id: WorkloadId) -> StoredWorkload | None:
        reply = await self._api.get(workload_id.path, self._deadline())
        if reply.status == 404:
            return None
        if not reply.ok:
            raise KubernetesError(f"{workload_id} cannot be read: the API server answered {reply.status}.")
        try:
            return msgspec.json.decode(reply.body, type=workload_id.kind.stored_type)
        except DECODE_ERRORS:
            raise DataError(f"{workload_id} cannot be understood.") from None

    async def _write(
        self, workload_id: WorkloadId, stored: StoredWorkload, operations: tuple[PatchOperation, ...]
    ) -> None:
        result = await patch_json(
            self._api,
            workload_id.path,
            operations,
            resource_version=stored.metadata.resource_version,
            deadline=self._deadline(),
            field_manager=FIELD_MANAGER,
        )
        if isinstance(result, Refused):
            raise KubernetesError(
                f"{workload_id} cannot be written: the API server answered {result.status}: {result.message}"
            )
        if not isinstance(result, Written | Vanished):
            raise RejectedError(f"{workload_id} was written by another client at the same time. Try again.")

    def _deadline(self) -> Deadline:
        return self._clock.deadline(SECONDS)


def _sources(inputs: DecisionInput, decision: WorkloadDecision) -> tuple[SourceReport, ...]:
    resolution = decision.resolution
    unreadable, gone = dict(resolution.unreadable), (*resolution.missing, *resolution.disappeared)
    found: list[SourceReport] = []
    for requirement in inputs.requirements.items:
        source, provided = requirement.source, requirement.provided is not None
        report = SourceReport(str(source), source.key, State.CURRENT, provided, requirement.optional)
        if source in unreadable:
            report = replace(report, state=State.UNREADABLE, why=unreadable[source])
        elif source in gone or source.key not in resolution.checksums:
            report = replace(report, state=State.MISSING)
        elif source in decision.changed:
            report = replace(report, state=State.STALE)
        found.append(report)
    return tuple(found)
