"""Certificates that come from elsewhere: files, or a Secret that cert-manager or an administrator keeps.

No right on webhook configurations is needed: whoever provides the certificate also publishes its CA.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import quote

import msgspec

from certs.api import KubernetesApi, decode_answer, problem
from certs.authority import check_validity
from certs.bundle import Bundle, check_leaf, parse_bundle
from certs.errors import CertificateError, UnreadableError
from certs.files import RawPair
from certs.pacing import Chance, Clock, Pace, Sleep
from certs.pem import KeyPair, decode_pair

POLL_SECONDS = 5.0
"""How soon a change is noticed."""


class PairSource(Protocol):
    """Where a pair is provided."""

    async def read(self) -> RawPair:
        """Reads it as it is now.

        Raises:
            CertificateError: It cannot be read.
        """


class _TlsSecret(msgspec.Struct, frozen=True):
    data: dict[str, bytes] | None = None


class SecretSource:
    """Reads `tls.crt`, `tls.key` and, if there is one, `ca.crt` from a Secret, as cert-manager writes them.

    Needs `get` on that Secret.

    Args:
        api: Calls to the API server.
        namespace: Of the Secret.
        name: Of the Secret.
    """

    def __init__(self, api: KubernetesApi, *, namespace: str, name: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"
        self._what = f"the Secret {namespace}/{name}"

    async def read(self) -> RawPair:
        """Reads the Secret as it is now.

        Raises:
            UnreadableError: It is missing, or one of its keys is.
            ApiUnavailableError: No answer, or 429 or 5xx.
            ApiRefusedError: No right to read it.
        """
        doing = f"reading {self._what}"
        status, body = await self._api.get(self._path)
        if status == 404:
            raise UnreadableError(f"{self._what} does not exist; create it, or wait until cert-manager does")
        if status != 200:
            raise problem(status, body, doing=doing)
        data = decode_answer(body, _TlsSecret, doing=doing).data or {}
        if not data.get("tls.crt") or not data.get("tls.key"):
            raise UnreadableError(f"{self._what} has no tls.crt or no tls.key")
        return RawPair(data["tls.crt"], data["tls.key"], data.get("ca.crt", b""))


@dataclass(frozen=True, slots=True)
class Provision:
    """What one pass found.

    Args:
        pair: What is served now, None before the first good pair.
        bundle: The CA bundle that came with it, empty where none did.
        renewed: Whether the pair is new.
        error: Why the provided pair was not taken; the one before stays.
        warning: What is wrong with the pair being served: it has expired, or clients with the given CA would not
            believe it.
    """

    pair: KeyPair | None
    bundle: Bundle
    renewed: bool = False
    error: CertificateError | None = None
    warning: CertificateError | None = None


class PairKeeper:
    """Takes each good pair that a source provides into service.

    Args:
        source: Where pairs come from.
        server_name: By what name the API server calls; a pair for other names is taken, with a warning.
        deliver: Takes a new pair into service, such as `ServerTls.load`; may raise `CertificateError`.
        clock: The wall clock.
    """

    def __init__(
        self, source: PairSource, *, server_name: str, deliver: Callable[[KeyPair], None], clock: Clock
    ) -> None:
        self._source = source
        self._server_name = server_name
        self._deliver = deliver
        self._clock = clock
        self._taken: RawPair | None = None
        self._provision = Provision(None, Bundle())
        self._pace: Pace | None = None

    async def refresh(self) -> Provision:
        """Reads the source, and delivers the pair if it is new and good."""
        kept = self._provision
        try:
            raw = await self._source.read()
            if raw == self._taken:
                return Provision(kept.pair, kept.bundle, warning=self._doubt(kept))
            self._provision = self._take(raw)
        except CertificateError as error:
            return Provision(kept.pair, kept.bundle, error=error)
        self._taken = raw
        return self._provision

    async def run(self, *, sleep: Sleep, chance: Chance, report: Callable[[Provision], None]) -> None:
        """Runs until it is cancelled.

        Args:
            sleep: Waits for so many seconds.
            chance: A random number from 0 to 1.
            report: Told of each pass.
        """
        pace = self._pace = Pace(sleep=sleep, chance=chance)
        while True:
            report(await self.refresh())
            await pace.rest(POLL_SECONDS)

    def wake(self) -> None:
        """Looks at once: something is known to have changed."""
        if self._pace:
            self._pace.wake()

    def _take(self, raw: RawPair) -> Provision:
        pair = decode_pair(raw.certificate, raw.key, what="the provided")
        bundle = parse_bundle(raw.authorities, what="the provided CA bundle")
        check_validity(pair.leaf, now=self._clock(), what="the provided certificate")
        self._deliver(pair)
        taken = Provision(pair, bundle, renewed=True)
        return replace(taken, warning=self._doubt(taken))

    def _doubt(self, provision: Provision) -> CertificateError | None:
        now = self._clock()
        try:
            if provision.pair:
                check_validity(provision.pair.leaf, now=now, what="the provided certificate")
                if provision.bundle.certificates:
                    check_leaf(provision.pair.chain, provision.bundle, server_name=self._server_name, now=now)
        except CertificateError as error:
            return error
        return None
