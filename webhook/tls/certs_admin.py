"""The work of `rollonce certs`: report on certificates, and have them replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

from certs.ca_state import CaState
from certs.errors import SecretError
from certs.injector import Injector
from certs.rotator import request_authority, request_leaves
from certs.secret_store import SecretStore
from webhook.errors import DeadlineExceededError, KubernetesError, RejectedError
from webhook.kube.api import KubernetesApi
from webhook.runtime.clock import Clock
from webhook.tls.api_adapter import CALL_SECONDS, ApiAdapter
from webhook.tls.certs_report import ReplicaReport, Report, authorities_of, replicas_of, webhooks_of
from webhook.tls.sources import SelfManaged

#: Delay between two reports while a rotation is followed.
POLL_SECONDS: Final = 0.5

#: Host and port of replicas.
Addresses: TypeAlias = Sequence[tuple[str, int]]
#: Writes one line about progress.
Say: TypeAlias = Callable[[str], None]


class _Endpoint(msgspec.Struct, frozen=True):
    addresses: list[str]


class _Port(msgspec.Struct, frozen=True):
    port: int | None = None


class _Slice(msgspec.Struct, frozen=True):
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _Slices(msgspec.Struct, frozen=True):
    items: list[_Slice]


class CertificatesAdmin:
    """Report on certificates, and request new ones.

    Args:
        api: The API server, with the rights of the user.
        source: Names and lifetimes.
        managed: Whether certificates are self-managed; otherwise the report has no CAs.
        clock: Time of day, sleep and jitter.
        replicas: Addresses of replicas to call; None takes those behind the Service.
    """

    def __init__(
        self,
        api: KubernetesApi,
        source: SelfManaged,
        *,
        managed: bool,
        clock: Clock,
        replicas: Addresses | None = None,
    ) -> None:
        adapter = ApiAdapter(api, clock)
        self._api = api
        self._source = source
        self._managed = managed
        self._clock = clock
        self._replicas = replicas
        self._store = SecretStore(adapter, namespace=source.namespace, name=source.secret)
        self._injector = Injector(adapter, source.target)

    async def report(self) -> Report:
        """Return the whole report.

        Raises:
            CertificateError: The API server was unavailable or refused the call.
            KubernetesError: As above, for the endpoints of the Service.
        """
        configurations = await self._injector.observe()
        stored = await self._store.read() if self._managed else None
        state = stored.state if stored else None
        problem = ""
        if stored and state is None:
            problem = str(stored.problem or "there is no CA yet; is a server or a controller running?")
        now = self._clock.now()
        replicas = await replicas_of(
            await self._addresses(), configurations, state, server_name=self._source.server_name, now=now
        )
        return Report(
            secret=f"{self._source.namespace}/{self._source.secret}" if self._managed else "",
            problem=problem,
            authorities=authorities_of(state, now=now) if state else (),
            replicas=replicas or self._without_replicas(),
            webhooks=webhooks_of(configurations, state.bundle if state else None, now=now),
        )

    def _without_replicas(self) -> tuple[ReplicaReport, ...]:
        """Return what to report if no replica is known: a Service without one, unless webhooks are called by URL."""
        target = self._source.target
        if target.url_prefix:
            return ()
        service = f"Service {target.namespace}/{target.service}"
        return (ReplicaReport(service, problem="no server is behind it, so each call fails"),)

    async def rotate_leaves(self, say: Say, *, seconds: float) -> None:
        """Have every replica replace its leaf, and wait for the replicas that can be called.

        Args:
            say: Receives progress.
            seconds: The longest wait.

        Raises:
            RejectedError: There is no CA.
            DeadlineExceededError: It took too long; the rotation continues without this command.
            CertificateError: The API server was unavailable or refused the call.
        """
        before = {replica.fingerprint for replica in (await self.report()).replicas if replica.fingerprint}
        if not await request_leaves(self._store, clock=self._clock):
            raise RejectedError(
                "There is no CA yet, so there is nothing to rotate. Is a server or a controller running?"
            )
        say("Asked each replica for a new serving certificate.")

        def missing(report: Report) -> str:
            old = [replica.address for replica in report.replicas if replica.fingerprint in before]
            return f"{', '.join(old)} to serve a new certificate" if old else ""

        await self._follow(say, missing, seconds)
        say("Done." if before else "No replica can be asked from here; each follows within 15 s.")

    async def rotate_authority(self, say: Say, *, seconds: float) -> None:
        """Have the CA replaced, and wait until it signs and all replicas that can be called serve a leaf of it.

        Args:
            say: Receives progress.
            seconds: The longest wait.

        Raises:
            DeadlineExceededError: It took too long; the rotation continues without this command.
            CertificateError: There is no CA, or the API server was unavailable or refused the call.
        """
        requested = await request_authority(self._store, self._source.rotation, clock=self._clock)
        state = await self._state()
        if requested:
            say("Made the next CA and put it into the Secret.")
        elif state.next:
            say("A rotation is under way already; following that one.")
        fingerprint = (state.next.authority if state.next else state.signer).identity

        def missing(report: Report) -> str:
            return _missing_for_rotation(report, fingerprint)

        await self._follow(say, missing, seconds)
        until = [a.trusted_until for a in (await self.report()).authorities if a.trusted_until]
        kept = f" The CA before stays trusted until {max(until).isoformat(timespec='seconds')}." if until else ""
        say(f"Done: {_short(fingerprint)} signs.{kept}")

    async def _follow(self, say: Say, missing: Callable[[Report], str], seconds: float) -> None:
        """Wait until nothing is missing; say what is missing each time that changes."""
        deadline = self._clock.deadline(seconds)
        said = ""
        while waiting := missing(await self.report()):
            if waiting != said:
                say(f"Waiting for {waiting}.")
                said = waiting
            if not deadline.remaining():
                raise DeadlineExceededError(
                    f"Still waiting for {waiting} after {seconds:.0f} s. It goes on without this command, as long as "
                    "a controller and the servers run."
                )
            await self._clock.sleep(POLL_SECONDS)

    async def _state(self) -> CaState:
        state = (await self._store.read()).state
        if state is None:
            raise SecretError("there is no CA yet; is a server or a controller running?")
        return state

    async def _addresses(self) -> Addresses:
        if self._replicas is not None:
            return self._replicas
        target = self._source.target
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(target.namespace, safe='')}/endpointslices"
        selector = {"labelSelector": f"kubernetes.io/service-name={target.service}"}
        reply = await self._api.get(path, self._clock.deadline(CALL_SECONDS), query=selector)
        if not reply.ok:
            raise KubernetesError(f"Listing the endpoints of {target.namespace}/{target.service}: {reply.status}.")
        slices = msgspec.json.decode(reply.body, type=_Slices).items
        return [
            (endpoint.addresses[0], port.port)
            for found in slices
            for endpoint in found.endpoints or ()
            for port in found.ports or ()
            if port.port
        ]


def _missing_for_rotation(report: Report, fingerprint: str) -> str:
    """Return what a rotation to the CA of this fingerprint waits for; empty if it is complete."""
    place = next((a.place for a in report.authorities if a.fingerprint == fingerprint), "")
    untrusting = [webhook for webhook in report.webhooks if fingerprint not in webhook.trusts]
    if place == "next" and untrusting:
        return (
            f"the controller to publish {_short(fingerprint)} in {len(untrusting)} of {len(report.webhooks)} webhooks"
        )
    if place == "next":
        return f"API servers to take up {_short(fingerprint)}, which each webhook trusts"
    if place != "current":
        return ""
    old = [replica.address for replica in report.replicas if _serves_another(replica, fingerprint)]
    return f"{', '.join(old)} to serve a certificate of {_short(fingerprint)}" if old else ""


def _serves_another(replica: ReplicaReport, fingerprint: str) -> bool:
    return bool(replica.fingerprint) and replica.issuer != fingerprint


def _short(fingerprint: str) -> str:
    return f"CA {fingerprint[:12]}"
