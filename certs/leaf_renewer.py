"""The loop by which a replica keeps its own certificate: signed by the CA in the Secret, renewed in time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from certs.errors import CertificateError, SecretError
from certs.leaf import HeldLeaf, is_leaf_due, new_leaf
from certs.names import ServingNames
from certs.pacing import Clock, Pace
from certs.pem import KeyPair
from certs.secret_store import SecretStore

#: How soon a replica notices a new CA if no watch wakes it.
POLL_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class RenewalResult:
    """The result of one pass.

    Attributes:
        held: The leaf that is served now; None before the first one.
        renewed: Whether it is new.
        error: Why there is none, or no newer one.
    """

    held: HeldLeaf | None
    renewed: bool = False
    error: CertificateError | None = None


class LeafRenewer:
    """Keep one replica's leaf valid and signed by the present CA.

    Needs the right `get` on the CA Secret only; the leaf and its key stay in memory.

    Args:
        store: The CA Secret.
        names: The names of the leaf.
        lifetime: The lifetime of the leaf; the same for every replica and the rotator.
        deliver: Starts to serve a new pair, such as `ServerTls.load`; if it raises `CertificateError`, the pair before
            stays and the next pass tries again.
        clock: Time of day, sleep and jitter.
    """

    def __init__(
        self,
        store: SecretStore,
        names: ServingNames,
        *,
        lifetime: timedelta,
        deliver: Callable[[KeyPair], None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._names = names
        self._lifetime = lifetime
        self._deliver = deliver
        self._clock = clock
        self._held: HeldLeaf | None = None
        self._pace: Pace | None = None

    @property
    def held(self) -> HeldLeaf | None:
        """The leaf that is served."""
        return self._held

    async def refresh(self) -> RenewalResult:
        """Read the Secret; sign and deliver a new leaf if one is due."""
        try:
            renewed = await self._renew()
        except CertificateError as error:
            return RenewalResult(self._held, error=error)
        return RenewalResult(self._held, renewed=renewed)

    async def run(self, *, report: Callable[[RenewalResult], None]) -> None:
        """Refresh until cancelled.

        Args:
            report: Called after each pass.
        """
        pace = self._pace = Pace(self._clock)
        while True:
            result = await self.refresh()
            report(result)
            if result.error:
                await pace.back_off()
            else:
                await pace.rest_until(self._seconds_until_due(result.held), longest=POLL_SECONDS)

    def wake(self) -> None:
        """Start the next pass now: the Secret has changed."""
        if self._pace:
            self._pace.wake()

    async def _renew(self) -> bool:
        read_at = self._clock.now()
        stored = await self._store.read()
        if stored.state is None:
            raise stored.problem or SecretError("there is no CA yet; the controller makes it when it starts")
        if not is_leaf_due(self._held, stored.state, now=read_at):
            return False
        leaf = new_leaf(stored.state, self._names, read_at=read_at, lifetime=self._lifetime)
        self._deliver(leaf.pair)
        self._held = leaf
        return True

    def _seconds_until_due(self, held: HeldLeaf | None) -> float:
        # The last leaf of a CA is overdue until there is another CA, which the usual polling notices.
        left = (held.renew_at - self._clock.now()).total_seconds() if held else POLL_SECONDS
        return left if left > -POLL_SECONDS else POLL_SECONDS
