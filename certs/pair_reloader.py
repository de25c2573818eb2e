"""The loop that serves a certificate made by others: read it again and again, and load each new valid pair."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from certs.authority import check_validity
from certs.bundle import Bundle, check_leaf, parse_bundle
from certs.errors import CertificateError
from certs.pacing import Clock, Pace
from certs.pair_sources import PairSource, RawPair
from certs.pem import KeyPair, decode_pair

#: How soon a change is noticed.
POLL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The result of one pass.

    Attributes:
        pair: The pair that is served now; None before the first valid one.
        bundle: The CA bundle that was provided with it; empty if none was.
        renewed: Whether the pair is new.
        error: Why the provided pair was rejected; the one before stays.
        warning: Why clients do not accept the pair that is served: it has expired, or it does not chain to the
            provided CA.
    """

    pair: KeyPair | None
    bundle: Bundle
    renewed: bool = False
    error: CertificateError | None = None
    warning: CertificateError | None = None


class PairReloader:
    """Serve each valid pair that a source provides.

    Args:
        source: The place where pairs are provided.
        server_name: The name by which the API server calls; a pair for other names is served, with a warning.
        deliver: Starts to serve a new pair, such as `ServerTls.load`; may raise `CertificateError`.
        clock: Time of day, sleep and jitter.
    """

    def __init__(
        self, source: PairSource, *, server_name: str, deliver: Callable[[KeyPair], None], clock: Clock
    ) -> None:
        self._source = source
        self._server_name = server_name
        self._deliver = deliver
        self._clock = clock
        self._loaded: RawPair | None = None
        self._last = ReloadResult(None, Bundle())
        self._pace: Pace | None = None

    async def refresh(self) -> ReloadResult:
        """Read the source, and deliver the pair if it is new and valid."""
        last = self._last
        try:
            raw = await self._source.read()
            if raw == self._loaded:
                return ReloadResult(last.pair, last.bundle, warning=self._warning(last))
            self._last = self._load(raw)
        except CertificateError as error:
            return ReloadResult(last.pair, last.bundle, error=error)
        self._loaded = raw
        return self._last

    async def run(self, *, report: Callable[[ReloadResult], None]) -> None:
        """Refresh until cancelled.

        Args:
            report: Called after each pass.
        """
        pace = self._pace = Pace(self._clock)
        while True:
            report(await self.refresh())
            await pace.rest(POLL_SECONDS)

    def wake(self) -> None:
        """Start the next pass now: the source has changed."""
        if self._pace:
            self._pace.wake()

    def _load(self, raw: RawPair) -> ReloadResult:
        pair = decode_pair(raw.certificate, raw.key, what="the provided")
        bundle = parse_bundle(raw.authorities, what="the provided CA bundle")
        check_validity(pair.leaf, now=self._clock.now(), what="the provided certificate")
        self._deliver(pair)
        loaded = ReloadResult(pair, bundle, renewed=True)
        return replace(loaded, warning=self._warning(loaded))

    def _warning(self, result: ReloadResult) -> CertificateError | None:
        now = self._clock.now()
        try:
            if result.pair:
                check_validity(result.pair.leaf, now=now, what="the provided certificate")
                if result.bundle.certificates:
                    check_leaf(result.pair.chain, result.bundle, server_name=self._server_name, now=now)
        except CertificateError as error:
            return error
        return None
