"""A kind that is added by a row alone, with a real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from tests.webhook.checksums.cluster import KEY, WITH_CRON_JOBS, Cluster
from tests.webhook.kube.waiting import eventually
from webhook.checksums.controller.reconciler import ControllerMetrics, WorkloadReconciler
from webhook.checksums.controller.reporter import StatusReporter
from webhook.checksums.controller.scope import Scope
from webhook.checksums.core.keys import MANAGED, SECRETS
from webhook.checksums.core.pace import Pace
from webhook.checksums.settings import ChecksumSettings
from webhook.kube.client import KubernetesClient
from webhook.kube.election import Term
from webhook.kube.events import EventRecorder
from webhook.kube.metrics import WatchMetrics
from webhook.kube.rbac import Access
from webhook.kube.reflector import WatchContext
from webhook.runtime.clock import Clock


class TestCronJob:
    """A kind that was added by one row, with its pod template deeper in the object."""

    def cron_job(self, schedule: str = "@daily") -> dict[str, Any]:
        """Return a CronJob that depends on the Secret `db`."""
        pod = {"restartPolicy": "Never", "containers": [{"name": "shop", "image": "shop:1"}]}
        return {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "shop", "annotations": {SECRETS: "db"}},
            "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": pod}}}},
        }

    async def checksum(self, cluster: Cluster) -> str | None:
        """Return the checksum in its pod template."""
        stored = await cluster.get("cronjob")
        annotations = stored["spec"]["jobTemplate"]["spec"]["template"]["metadata"].get("annotations") or {}
        value: str | None = annotations.get(KEY)
        return value

    async def test_it_gets_its_checksum_at_the_right_path(self, cluster: Cluster) -> None:
        """At admission, by the API server's own JSON Patch; applying it again changes nothing."""
        warned = await cluster.apply(self.cron_job())
        assert 'Secret "db" does not exist' in warned.stderr
        assert await self.checksum(cluster) is None
        await cluster.secret("one")
        await cluster.apply(self.cron_job("@hourly"))
        first = await self.checksum(cluster)
        assert first is not None
        stored = await cluster.get("cronjob")
        assert stored["metadata"]["annotations"][MANAGED] == KEY
        await cluster.apply(self.cron_job("@hourly"))
        assert (await cluster.get("cronjob"))["metadata"]["generation"] == stored["metadata"]["generation"]

    async def test_the_controller_keeps_it_current(self, cluster: Cluster, api: KubernetesClient) -> None:
        """It watches the kind, patches at the right path, and writes an Event on the CronJob."""
        await cluster.secret("one")
        await cluster.apply(self.cron_job())
        before = await self.checksum(cluster)
        clock, log, registry = Clock(), structlog.get_logger(), CollectorRegistry()
        metrics = ControllerMetrics.register(registry)
        recorder = EventRecorder(api, component="rollonce", instance="test", clock=clock, log=log)
        reconciler = WorkloadReconciler(
            Term(float("inf"), clock.monotonic),
            settings=ChecksumSettings,
            scope=Scope(Access.NAMESPACES, (cluster.namespace,), kinds=WITH_CRON_JOBS),
            pace=Pace(settle=0.0, ceiling=0.0, backoff=0.0),
            api=api,
            watch=WatchContext(api, clock, log, WatchMetrics(registry)),
            reporter=StatusReporter(recorder, log, metrics.rollouts),
            metrics=metrics,
        )

        def patches() -> float:
            labels = {"kind": "CronJob", "reason": "changed", "outcome": "written"}
            return registry.get_sample_value("rollonce_rollout_patches_total", labels) or 0.0

        tasks = [asyncio.create_task(reconciler.run()), asyncio.create_task(recorder.run())]
        try:
            await eventually(lambda: registry.get_sample_value("rollonce_rollout_workloads"))
            assert patches() == 0
            await cluster.secret("two")
            await eventually(lambda: patches() == 1)
            assert await self.checksum(cluster) not in {before, None}
            await self._wait_for_event(cluster)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_for_event(self, cluster: Cluster) -> None:
        fields = "involvedObject.apiVersion=batch/v1,involvedObject.kind=CronJob,reason=ConfigChanged"
        async with asyncio.timeout(30):
            while "Rolled out" not in (await cluster.kubectl("get", "events", f"--field-selector={fields}")).stdout:
                pass
