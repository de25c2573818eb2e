"""What an operator does with certificates: look, and have them replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from certs.errors import SecretError
from certs.injector import Injector
from certs.rotator import request_authority, request_leaves
from certs.secret_store import SecretStore
from certs.state import CaState
from webhook.admission.deadline import Deadline
from webhook.certificates.api import CALL_SECONDS, CertificateApi
from webhook.certificates.report import ReplicaReport, Report, authorities_of, replicas_of, webhooks_of
from webhook.certificates.served import now
from webhook.certificates.settings import SelfManaged
from webhook.clients.api import KubernetesApi
from webhook.errors import KubernetesError, RollonceError

POLL_SECONDS: Final = 0.5
#: How long nothing may happen before it is said what is waited for.
PATIENCE_SECONDS: Final = 10.0

Addresses = Sequence[tuple[str, int]]
Say = Callable[[str], None]


class _Endpoint(msgspec.Struct, frozen=True):
    addresses: list[str]


class _Port(msgspec.Struct, frozen=True):
    port: int | None = None


class _Slice(msgspec.Struct, frozen=True):
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class _Slices(msgspec.Struct, frozen=True):
    items: list[_Slice]


class Operator:
    """Looks at certificates and asks for new ones.

    Args:
        client: The API server, as the operator.
        settings: Names and places.
        managed: Whether certificates are self-managed; otherwise only what is served and trusted can be told.
        replicas: Addresses to ask; None takes those behind the Service.
    """

    def __init__(
        self, client: KubernetesApi, settings: SelfManaged, *, managed: bool, replicas: Addresses | None = None
    ) -> None:
        api = CertificateApi(client)
        self._client = client
        self._settings = settings
        self._managed = managed
        self._replicas = replicas
        self._store = SecretStore(api, namespace=settings.namespace, name=settings.secret)
        self._injector = Injector(api, settings.target)

    async def report(self) -> Report:
        """Look at everything.

        Raises:
            CertificateError: The API server was not there or refused.
            KubernetesError: As above, for the Service's endpoints.
        """
        configurations = await self._injector.observe()
        stored = await self._store.read() if self._managed else None
        state = stored.state if stored else None
        problem = ""
        if stored and state is None:
            problem = str(stored.problem or "there is no CA yet; is a server or a controller running?")
        at = now()
        return Report(
            secret=f"{self._settings.namespace}/{self._settings.secret}" if self._managed else "",
            problem=problem,
            authorities=authorities_of(state) if state else (),
            replicas=await replicas_of(
                await self._addresses(), configurations, state, server_name=self._settings.server_name, now=at
            ),
            webhooks=webhooks_of(configurations, state.bundle if state else None, now=at),
        )

    async def rotate_leaves(self, say: Say, *, seconds: float) -> None:
        """Have every replica replace its leaf, and wait for those that can be asked.

        Raises:
            RollonceError: There is no CA, or it took too long.
            CertificateError: The API server was not there or refused.
        """
        before = {replica.fingerprint for replica in (await self.report()).replicas if replica.fingerprint}
        if not await request_leaves(self._store, clock=now):
            raise RollonceError(
                "There is no CA yet, so there is nothing to rotate. Is a server or a controller running?"
            )
        say("Asked each replica for a new serving certificate.")

        def left(report: Report) -> str:
            old = [replica.address for replica in report.replicas if replica.fingerprint in before]
            return f"{', '.join(old)} to serve a new certificate" if old else ""

        await self._follow(say, left, seconds)
        say("Done." if before else "No replica can be asked from here; each follows within 15 s.")

    async def rotate_authority(self, say: Say, *, seconds: float) -> None:
        """Have the CA replaced, and wait until it signs and all replicas that can be asked serve a leaf of it.

        Raises:
            RollonceError: There is no CA, or it took too long.
            CertificateError: The API server was not there or refused.
        """
        asked = await request_authority(self._store, self._settings.rotation, clock=now)
        state = await self._state()
        if asked:
            say("Made the next CA and put it into the Secret.")
        elif state.next:
            say("A rotation is under way already; following that one.")
        wanted = (state.next.authority if state.next else state.signer).identity

        def left(report: Report) -> str:
            return _left_of_rotation(report, wanted)

        await self._follow(say, left, seconds)
        until = [a.trusted_until for a in (await self.report()).authorities if a.trusted_until]
        kept = f" The CA before stays trusted until {max(until).isoformat(timespec='seconds')}." if until else ""
        say(f"Done: {_short(wanted)} signs.{kept}")

    async def _follow(self, say: Say, left: Callable[[Report], str], seconds: float) -> None:
        """Look until nothing is left to wait for, and say each change of what is."""
        end = time.monotonic() + seconds
        told = ""
        while waiting := left(await self.report()):
            if waiting != told:
                say(f"Waiting for {waiting}.")
                told = waiting
            if time.monotonic() > end:
                raise RollonceError(
                    f"Still waiting for {waiting} after {seconds:.0f} s. It goes on without this command, as long as "
                    "a controller and the servers run."
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _state(self) -> CaState:
        state = (await self._store.read()).state
        if state is None:
            raise SecretError("there is no CA yet; is a server or a controller running?")
        return state

    async def _addresses(self) -> Addresses:
        if self._replicas is not None:
            return self._replicas
        target = self._settings.target
        path = f"/apis/discovery.k8s.io/v1/namespaces/{quote(target.namespace, safe='')}/endpointslices"
        reply = await self._client.get(
            path,
            Deadline.after(CALL_SECONDS, time.monotonic),
            query={"labelSelector": f"kubernetes.io/service-name={target.service}"},
        )
        if not reply.ok:
            raise KubernetesError(f"Listing the endpoints of {target.namespace}/{target.service}: {reply.status}.")
        found = msgspec.json.decode(reply.body, type=_Slices).items
        return [
            (endpoint.addresses[0], port.port)
            for one in found
            for endpoint in one.endpoints or ()
            for port in one.ports or ()
            if port.port
        ]


def _left_of_rotation(report: Report, wanted: str) -> str:
    """Say what a rotation to the CA of this fingerprint waits for; empty if it is over."""
    place = next((a.place for a in report.authorities if a.fingerprint == wanted), "")
    distrusting = [webhook for webhook in report.webhooks if wanted not in webhook.trusts]
    if place == "next" and distrusting:
        return f"the controller to publish {_short(wanted)} in {len(distrusting)} of {len(report.webhooks)} webhooks"
    if place == "next":
        return f"API servers to take up {_short(wanted)}, which each webhook trusts"
    if place != "current":
        return ""
    old = [replica.address for replica in report.replicas if _serves_another(replica, wanted)]
    return f"{', '.join(old)} to serve a certificate of {_short(wanted)}" if old else ""


def _serves_another(replica: ReplicaReport, wanted: str) -> bool:
    return bool(replica.fingerprint) and replica.issuer != wanted


def _short(fingerprint: str) -> str:
    return f"CA {fingerprint[:12]}"
