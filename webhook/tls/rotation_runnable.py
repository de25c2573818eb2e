"""The part of the controller that rotates certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from certs.injector import Injector, Kind
from certs.rotation_plan import PublishBundle, WaitUntil
from certs.rotator import Progress, Rotator
from certs.secret_store import SecretStore
from webhook.feature import Process
from webhook.kube.api import KubernetesApi
from webhook.kube.election import Term
from webhook.kube.reflector import WatchContext
from webhook.kube.runnable import LeaderRunnable
from webhook.runtime.clock import Clock
from webhook.runtime.log import ChangeLogger, Logger
from webhook.tls.api_adapter import ApiAdapter
from webhook.tls.metrics import RotationMetrics
from webhook.tls.sources import SelfManaged, is_self_managed, self_managed_source
from webhook.tls.watch_trigger import watch_trigger

_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"


class RotationRunnable:
    """Keep the CA Secret and the published bundles as they should be.

    It is correct even if several replicas run it; the election only saves calls.

    Args:
        api: The API server.
        watch_context: For one watch of each object in `watched_objects`.
        source: Names and lifetimes.
        metrics: Shows the CAs, the steps and failures.
        clock: Time of day, sleep and jitter.
        log: Receives steps, failures and their end.
    """

    name = "certificates"

    def __init__(
        self,
        api: KubernetesApi,
        watch_context: WatchContext,
        source: SelfManaged,
        *,
        metrics: RotationMetrics,
        clock: Clock,
        log: Logger,
    ) -> None:
        adapter = ApiAdapter(api, clock)
        store = SecretStore(adapter, namespace=source.namespace, name=source.secret, labels=dict(source.labels))
        self._metrics = metrics
        self._log = log
        self._failures, self._secret_problems = ChangeLogger(log), ChangeLogger(log)
        self._rotator = Rotator(store, Injector(adapter, source.target), source.rotation, clock=clock)
        self._watches = [
            watch_trigger(watch_context, collection, name, self._rotator.wake)
            for collection, name in watched_objects(source)
        ]

    async def lead(self, _: Term) -> None:
        """Rotate, and undo changes of others at once, until cancelled.

        The term is not needed: each write has a precondition of its own.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._rotator.run(report=self._report))
                for watch in self._watches:
                    group.create_task(watch.run())
        finally:
            self._metrics.reset()

    def _report(self, progress: Progress) -> None:
        if progress.state:
            signer, following = progress.state.current, progress.state.next
            authorities = {"ca": signer.certificate} if signer else {}
            self._metrics.set_authorities(
                authorities | ({"next": following.authority.certificate} if following else {})
            )
        if progress.problem:
            self._secret_problems.failed("ca secret cannot be used, creating a new ca", str(progress.problem))
        if progress.error:
            self._metrics.failures.labels(progress.error.reason).inc()
            self._failures.failed("certificate rotation failed, retrying", str(progress.error))
            return
        self._failures.recovered("certificate rotation works again")
        step = progress.step
        if isinstance(step, WaitUntil):
            self._metrics.published.set(1)
            self._log.debug("certificate rotation waits", reason=step.reason.value, until=step.moment.isoformat())
        elif step:
            if isinstance(step, PublishBundle):
                self._metrics.published.set(0)
            self._metrics.steps.labels(type(step).__name__).inc()
            self._log.info("certificate rotation step done", step=type(step).__name__)


def watched_objects(source: SelfManaged) -> list[tuple[str, str]]:
    """Return collection and name of each object whose changes start a pass: the CA Secret and the configurations."""
    target = source.target
    return [
        (f"/api/v1/namespaces/{source.namespace}/secrets", source.secret),
        *((f"{_CONFIGURATIONS}/{Kind.MUTATING}", name) for name in target.mutating),
        *((f"{_CONFIGURATIONS}/{Kind.VALIDATING}", name) for name in target.validating),
    ]


def rotation_runnables(process: Process) -> Sequence[LeaderRunnable]:
    """Return the rotation if rollonce makes its certificates, otherwise nothing.

    Raises:
        ConfigurationError: A name or a lifetime cannot work.
    """
    if not is_self_managed(process.settings):
        return ()
    source = self_managed_source(process.settings)
    return (
        RotationRunnable(
            process.api,
            process.watch_context(len(watched_objects(source))),
            source,
            metrics=RotationMetrics(process.registry, process.clock),
            clock=process.clock,
            log=process.log,
        ),
    )
