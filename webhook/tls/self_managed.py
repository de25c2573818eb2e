"""The serving certificate that rollonce makes: each replica signs its own by the CA in the Secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from certs.errors import CertificateError, ConflictError
from certs.injector import Injector
from certs.leaf_renewer import LeafRenewer, RenewalResult
from certs.rotator import Rotator
from certs.secret_store import SecretStore
from webhook.kube.api import KubernetesApi
from webhook.kube.reflector import WatchContext
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.log import ChangeLogger, Logger
from webhook.tls.api_adapter import ApiAdapter
from webhook.tls.holder import CertificateHolder, Work
from webhook.tls.metrics import ServingMetrics
from webhook.tls.readiness import NO_CERTIFICATE, untrusting_webhook
from webhook.tls.sources import SelfManaged
from webhook.tls.watch_trigger import watch_trigger

#: Delays between attempts to get the first certificate; until then the replica is not ready.
FIRST_BACKOFF: Final = Backoff(first=0.1, limit=5.0)


class SelfManagedCertificate:
    """Sign a leaf by the CA in the Secret; create the CA if there is no Secret.

    Args:
        api: The API server.
        watch_context: For one watch.
        source: Names and lifetimes.
        holder: Receives each new leaf.
        metrics: Counts failures.
        clock: Time of day, sleep and jitter.
        log: Receives failures and their end.
    """

    def __init__(
        self,
        api: KubernetesApi,
        watch_context: WatchContext,
        source: SelfManaged,
        holder: CertificateHolder,
        *,
        metrics: ServingMetrics,
        clock: Clock,
        log: Logger,
    ) -> None:
        adapter = ApiAdapter(api, clock)
        store = SecretStore(adapter, namespace=source.namespace, name=source.secret, labels=dict(source.labels))
        rotation = source.rotation
        self._source = source
        self._holder = holder
        self._metrics = metrics
        self._clock = clock
        self._log = log
        self._creation_log, self._renewal_log = ChangeLogger(log), ChangeLogger(log)
        self._injector = Injector(adapter, source.target)
        self._rotator = Rotator(store, self._injector, rotation, clock=clock)
        self._renewer = LeafRenewer(
            store, rotation.names, lifetime=rotation.leaf_lifetime, deliver=holder.load, clock=clock
        )
        collection = f"/api/v1/namespaces/{source.namespace}/secrets"
        self._watch = watch_trigger(watch_context, collection, source.secret, self._renewer.wake)

    async def begin(self) -> None:
        """Do nothing: everything that is missing now can appear later."""

    def tasks(self) -> Mapping[str, Work]:
        """Return the loop that renews the leaf, and a watch that wakes it when the CA changes."""
        return {"certificate": self._keep, "certificate watch": self._watch.run}

    async def trust_problem(self) -> str:
        """Return which webhook does not trust the leaf, and why; empty if all do."""
        if self._holder.pair is None:
            return NO_CERTIFICATE
        try:
            configurations = await self._injector.observe()
        except CertificateError as error:
            return str(error)
        return untrusting_webhook(
            self._holder.pair, configurations, server_name=self._source.server_name, now=self._clock.now()
        )

    async def _keep(self) -> None:
        retry = Retry(self._clock, FIRST_BACKOFF)
        while not (result := await self._renewer.refresh()).held:
            if not await self._create_authority():
                self._report(result)
                await retry.wait()
        await self._renewer.run(report=self._report)

    async def _create_authority(self) -> bool:
        """Create the CA if there is none; return whether one was created just now, here or by another program."""
        try:
            created = await self._rotator.make_first()
        except ConflictError:
            return True
        except CertificateError as error:
            self._creation_log.failed("certificate authority cannot be created, retrying", str(error))
            return False
        if created:
            self._log.info("certificate authority created")
        return created

    def _report(self, result: RenewalResult) -> None:
        if result.error:
            self._metrics.failures.labels(result.error.reason).inc()
            self._renewal_log.failed("certificate renewal failed, retrying", str(result.error))
        else:
            self._renewal_log.recovered("certificate renewal works again")
