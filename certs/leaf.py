"""When a replica takes a new serving certificate. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from certs.authority import issue_leaf
from certs.names import ServingNames
from certs.pem import KeyPair
from certs.state import CaState


@dataclass(frozen=True, slots=True)
class HeldLeaf:
    """The leaf that a replica serves.

    Args:
        pair: Chain and key.
        authority: Fingerprint of the CA that signed it.
        issued_at: The clock when it was made.
    """

    pair: KeyPair
    authority: str
    issued_at: datetime

    @property
    def renew_at(self) -> datetime:
        """When two thirds of its life are over."""
        return self.issued_at + (self.pair.leaf.not_valid_after_utc - self.issued_at) * 2 / 3


def is_leaf_due(held: HeldLeaf | None, state: CaState, *, now: datetime) -> bool:
    """Whether to sign a new leaf by `state.signer`.

    Args:
        held: What is being served; None before the first leaf.
        state: What the CA Secret says.
        now: The wall clock.
    """
    if held is None or not _is_valid(held, now):
        return True
    if held.authority != state.signer.identity:
        # Without a current CA the signer is not known to be trusted: what is served now is better while it is valid.
        return state.current is not None
    if state.renew_leaves_at and held.issued_at < state.renew_leaves_at <= now:
        return True
    # A leaf that ends with its CA cannot be prolonged by signing again; the next CA will do that.
    ends_with_authority = held.pair.leaf.not_valid_after_utc >= state.signer.certificate.not_valid_after_utc
    return now >= held.renew_at and not ends_with_authority


def new_leaf(state: CaState, names: ServingNames, *, read_at: datetime, lifetime: timedelta) -> HeldLeaf:
    """Signs a leaf by the CA that the Secret names.

    Args:
        state: What the Secret said.
        names: The leaf's names.
        read_at: The clock BEFORE the Secret was read: however long the reader was frozen since then, the leaf ends
            before a rotation that it did not notice drops its CA.
        lifetime: Counted from `read_at`.

    Raises:
        ValidityError: The CA is not valid at `read_at`.
        NamesError: The CA permits none of the names.
    """
    pair = issue_leaf(state.signer, names, now=read_at, lifetime=lifetime)
    return HeldLeaf(pair, state.signer.identity, read_at)


def _is_valid(held: HeldLeaf, now: datetime) -> bool:
    return held.pair.leaf.not_valid_before_utc <= now <= held.pair.leaf.not_valid_after_utc
