"""A replica's own certificate: signed by the CA in the Secret, kept in memory, renewed in time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from certs.errors import CertificateError, SecretError
from certs.leaf import HeldLeaf, is_leaf_due, new_leaf
from certs.names import ServingNames
from certs.pacing import Chance, Clock, Pace, Sleep
from certs.pem import KeyPair
from certs.secret_store import SecretStore

POLL_SECONDS = 15.0
"""How soon a replica notices that the CA has changed, where no watch wakes it."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What one pass did.

    Args:
        held: What is served now, None before the first leaf.
        renewed: Whether it is new.
        error: Why there is none, or no newer one.
    """

    held: HeldLeaf | None
    renewed: bool = False
    error: CertificateError | None = None


class LeafKeeper:
    """Keeps one replica's leaf fresh.

    Needs `get` on the CA Secret only.

    Args:
        store: The CA Secret.
        names: The leaf's names.
        lifetime: The same for every replica and the rotator.
        deliver: Takes a new pair into service, such as `ServerTls.load`; if it raises `CertificateError`, the pair
            before stays and the next pass tries again.
        clock: The wall clock.
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
        """What is being served."""
        return self._held

    async def refresh(self) -> Renewal:
        """Reads the Secret, and signs and delivers a new leaf where one is due."""
        try:
            renewed = await self._renew()
        except CertificateError as error:
            return Renewal(self._held, error=error)
        return Renewal(self._held, renewed=renewed)

    async def run(self, *, sleep: Sleep, chance: Chance, report: Callable[[Renewal], None]) -> None:
        """Runs until it is cancelled.

        Args:
            sleep: Waits for so many seconds.
            chance: A random number from 0 to 1.
            report: Told of each pass.
        """
        pace = self._pace = Pace(sleep=sleep, chance=chance)
        while True:
            renewal = await self.refresh()
            report(renewal)
            if renewal.error:
                await pace.back_off()
            else:
                await pace.rest_until(self._until_due(renewal.held), longest=POLL_SECONDS)

    def wake(self) -> None:
        """Looks at once: a watch has seen the Secret change."""
        if self._pace:
            self._pace.wake()

    async def _renew(self) -> bool:
        read_at = self._clock()
        stored = await self._store.read()
        if stored.state is None:
            raise stored.problem or SecretError("there is no CA yet; the controller makes it when it starts")
        if not is_leaf_due(self._held, stored.state, now=read_at):
            return False
        leaf = new_leaf(stored.state, self._names, read_at=read_at, lifetime=self._lifetime)
        self._deliver(leaf.pair)
        self._held = leaf
        return True

    def _until_due(self, held: HeldLeaf | None) -> float:
        # The last leaf of a CA stays until there is another CA, which the usual polling notices.
        left = (held.renew_at - self._clock()).total_seconds() if held else POLL_SECONDS
        return left if left > -POLL_SECONDS else POLL_SECONDS
