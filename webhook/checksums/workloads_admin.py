"""Reports on the checksums of workloads, read live and decided as at admission, and the two changes of an operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from webhook.admission.patch import PatchOperation
from webhook.checksums.controller.scope import NOT_WATCHED, Scope
from webhook.checksums.core.decide import NOTHING_DECIDED, decide
from webhook.checksums.core.inputs import DecisionInput, Reading, Trigger, Unreadable
from webhook.checksums.core.keys import PROGRESS, RESUMED, Source
from webhook.checksums.core.kinds import KINDS, WorkloadId, WorkloadKind
from webhook.checksums.core.marks import judge
from webhook.checksums.core.objects import StoredWorkload
from webhook.checksums.core.optin import Requirements, required
from webhook.checksums.core.plan import Observed
from webhook.checksums.core.rollout import Rollout
from webhook.checksums.settings import ChecksumSettings
from webhook.checksums.sources import SourceReader
from webhook.checksums.workload_report import Explanation, WorkloadReport, unmanaged_keys
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


class WorkloadsAdmin:
    """Report on workloads as they are stored now, and write the two changes that an operator can order.

    Args:
        api: The API server. Needs list, get and patch of workloads.
        settings: The settings.
        reader: Reads Secrets and ConfigMaps.
        scope: What the controller watches; None if everything.
        clock: Monotonic time, and the time of day.
        kinds: The kinds of workloads.
    """

    def __init__(
        self,
        api: KubernetesApi,
        settings: ChecksumSettings,
        reader: SourceReader,
        *,
        scope: Scope | None = None,
        clock: Clock,
        kinds: Sequence[WorkloadKind] = KINDS,
    ) -> None:
        self._api = api
        self._settings = settings
        self._reader = reader
        self._scope = scope
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
                return await self._explain(workload_id, unmanaged=False)

        explained = await asyncio.gather(*map(explain, workloads))
        return [explanation.report for explanation in explained if explanation is not None]

    async def explain(self, workload_id: WorkloadId) -> Explanation | None:
        """Report on one workload; None if it does not exist or has nothing to do with checksums of rollonce.

        Raises:
            KubernetesError: It cannot be read.
        """
        return await self._explain(workload_id, unmanaged=True)

    async def remove(self, workload_id: WorkloadId, *, unmanaged: bool = False, dry_run: bool) -> tuple[str, ...]:
        """Remove everything that rollonce wrote to a workload, and resume it if it is held; its opt-in stays.

        Args:
            workload_id: The workload.
            unmanaged: Remove the keys instead that look like those of rollonce, and that it neither wants nor manages.
            dry_run: Write nothing.

        Returns:
            The keys that are removed from its pod template.

        Raises:
            KubernetesError: It cannot be read or written.
            RejectedError: Another client wrote it at the same time.
        """
        stored = await self._get(workload_id)
        if stored is None:
            return ()
        if unmanaged:
            inputs = self._inputs(self._observe(workload_id, stored))
            removed = unmanaged_keys(inputs)
            kept = {key: value for key, value in inputs.workload.template_annotations.items() if key not in removed}
            operations = inputs.workload.patch(template_annotations=kept)
        else:
            decision = decide(self._inputs(self._observe(workload_id, stored), Requirements()), {})
            operations, removed = decision.operations, decision.removed
        if operations and not dry_run:
            await self._write(workload_id, stored, operations)
        return removed

    async def resume(self, workload_id: WorkloadId) -> None:
        """Let other workloads roll although the rollout of this one failed.

        Raises:
            KubernetesError: It cannot be read or written.
            RejectedError: It does not exist, its rollout has not failed, or another client wrote at the same time.
        """
        stored = await self._get(workload_id)
        if stored is None:
            raise RejectedError(f"There is no {workload_id}.")
        observed = self._observe(workload_id, stored)
        if observed.rollout is not Rollout.FAILED:
            why = "it is paused, and no other workload waits for it" if observed.rollout is Rollout.PAUSED else ""
            why = why or "there is nothing to resume"
            raise RejectedError(f"The rollout of {workload_id} has not failed: {why}.")
        annotations = dict(observed.workload.annotations)
        operations = observed.workload.patch(annotations=annotations | {RESUMED: observed.rollout_id})
        if operations:
            await self._write(workload_id, stored, operations)

    async def _explain(self, workload_id: WorkloadId, *, unmanaged: bool) -> Explanation | None:
        stored = await self._get(workload_id)
        if stored is None:
            return None
        before = self._observe(workload_id, stored)
        inputs = self._inputs(before)
        if not (inputs.concerns_checksums or (unmanaged and unmanaged_keys(inputs))):
            return None
        observed = replace(before, decision=decide(inputs, await self._read(workload_id.namespace, inputs.to_read)))
        return Explanation(WorkloadReport.of(observed, inputs), observed.decision.operations)

    def _observe(self, workload_id: WorkloadId, stored: StoredWorkload) -> Observed:
        rollout, now = workload_id.kind.rollout(stored), self._clock.now()
        if self._settings.rules.staged:
            record = (stored.metadata.annotations or {}).get(PROGRESS)
            rollout = judge(stored, rollout, record, now=now, deadline=self._settings.progress_deadline)
        return Observed.of(workload_id, stored, rollout, NOTHING_DECIDED)

    def _inputs(self, observed: Observed, requirements: Requirements | None = None) -> DecisionInput:
        rules, workload = self._settings.rules, observed.workload
        if requirements is None:
            requirements = required(workload, self._settings.policy, observed.id.namespace)
        standing = observed.standing if rules.staged else None
        return DecisionInput.of(Trigger.RECONCILE, workload, None, requirements, rules, standing=standing)

    async def _read(self, namespace: str, sources: Iterable[Source]) -> Mapping[Source, Reading]:
        """Read what the controller watches; it does not read anything else either."""
        watched = [source for source in sources if self._scope is None or self._scope.covers(namespace, source)]
        found = await self._reader.read(namespace, watched, self._deadline())
        return {source: found.get(source, Unreadable(NOT_WATCHED)) for source in sources}

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
