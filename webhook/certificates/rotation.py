"""The part of the controller that rotates certificates."""

from __future__ import annotations

import asyncio
import random

from certs.injector import Injector, Kind
from certs.rotation import PublishBundle, WaitUntil
from certs.rotator import Progress, Rotator
from certs.secret_store import SecretStore
from webhook.certificates.api import CertificateApi
from webhook.certificates.metrics import RotationMetrics
from webhook.certificates.served import now
from webhook.certificates.settings import SelfManaged
from webhook.certificates.teller import Teller
from webhook.certificates.wake import Watched, wake_on_change
from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.election import Term
from webhook.log import Logger

_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"


class Rotation:
    """Keeps the CA Secret and the published bundles as they should be; a part of the controller.

    Several at once do no harm; that only one runs saves calls.

    Args:
        client: The API server.
        settings: Names, lifetimes and places.
        metrics: For what happens.
        log: As well.
    """

    name = "certificates"

    def __init__(
        self, client: KubernetesClient, settings: SelfManaged, *, metrics: RotationMetrics, log: Logger
    ) -> None:
        api = CertificateApi(client)
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._log = log
        self._teller = Teller(log)
        self._refused = Teller(log)
        store = SecretStore(api, namespace=settings.namespace, name=settings.secret, labels=dict(settings.labels))
        self._rotator = Rotator(store, Injector(api, settings.target), settings.rotation, clock=now)

    async def lead(self, _: Term) -> None:
        """Rotate, and mend at once what others change, until cancelled.

        The term is of no use here: each write has a precondition of its own.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._rotator.run(sleep=asyncio.sleep, chance=random.random, report=self._report))
                for watched in self._watched():
                    group.create_task(wake_on_change(self._client, watched, self._rotator.wake, log=self._log))
        finally:
            self._metrics.forget()

    def _watched(self) -> tuple[Watched, ...]:
        target = self._settings.target
        return (
            Watched(f"/api/v1/namespaces/{self._settings.namespace}/secrets", self._settings.secret),
            *(Watched(f"{_CONFIGURATIONS}/{Kind.MUTATING}", name) for name in target.mutating),
            *(Watched(f"{_CONFIGURATIONS}/{Kind.VALIDATING}", name) for name in target.validating),
        )

    def _report(self, progress: Progress) -> None:
        if progress.state:
            signer, following = progress.state.current, progress.state.next
            held = {"ca": signer.certificate} if signer else {}
            self._metrics.hold(held | ({"next": following.authority.certificate} if following else {}))
        if progress.problem:
            self._refused.problem("The CA Secret cannot be used and is made anew.", str(progress.problem))
        if progress.error:
            self._metrics.failures.labels(progress.error.reason).inc()
            self._teller.problem("Certificates could not be looked after; trying again.", str(progress.error))
            return
        self._teller.fine("Certificates are being looked after again.")
        step = progress.step
        if isinstance(step, WaitUntil):
            self._metrics.published.set(1)
            self._log.debug("Nothing to do for certificates.", why=step.why.value, until=step.moment.isoformat())
        elif step:
            if isinstance(step, PublishBundle):
                self._metrics.published.set(0)
            self._metrics.steps.labels(type(step).__name__).inc()
            self._log.info("Took a step of the certificates' rotation.", step=type(step).__name__)
