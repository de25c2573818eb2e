"""When a replica signs a new serving certificate (leaf) for itself. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from certs.authority import issue_leaf
from certs.ca_state import CaState
from certs.names import ServingNames
from certs.pem import KeyPair


@dataclass(frozen=True, slots=True)
class HeldLeaf:
    """The leaf that a replica serves.

    Attributes:
        pair: Chain and key.
        authority: Fingerprint of the CA that signed it.
        issued_at: When it was signed.
    """

    pair: KeyPair
    authority: str
    issued_at: datetime

    @property
    def renew_at(self) -> datetime:
        """The moment at which two thirds of its lifetime have passed."""
        return self.issued_at + (self.pair.leaf.not_valid_after_utc - self.issued_at) * 2 / 3


def is_leaf_due(held: HeldLeaf | None, state: CaState, *, now: datetime) -> bool:
    """Return whether `state.signer` has to sign a new leaf now.

    Args:
        held: The leaf that is served; None before the first one.
        state: The content of the CA Secret.
        now: The time of day.
    """
    if held is None or not _is_valid(held, now):
        return True
    if held.authority != state.signer.identity:
        # Without a current CA it is unknown whether clients trust the signer: keep the old leaf while it is valid.
        return state.current is not None
    if state.renew_leaves_at and held.issued_at < state.renew_leaves_at <= now:
        return True
    # The same CA cannot prolong a leaf that ends with it; the next CA will.
    ends_with_authority = held.pair.leaf.not_valid_after_utc >= state.signer.certificate.not_valid_after_utc
    return now >= held.renew_at and not ends_with_authority


def new_leaf(state: CaState, names: ServingNames, *, read_at: datetime, lifetime: timedelta) -> HeldLeaf:
    """Sign a leaf by the CA in the Secret.

    Args:
        state: The content of the CA Secret.
        names: The names of the leaf.
        read_at: The time BEFORE the Secret was read. However long the reader was frozen since then, the leaf ends
            before a rotation that it did not see drops its CA.
        lifetime: Counted from `read_at`.

    Raises:
        ValidityError: The CA is not valid at `read_at`.
        NamesError: The CA permits none of the names.
    """
    pair = issue_leaf(state.signer, names, now=read_at, lifetime=lifetime)
    return HeldLeaf(pair, state.signer.identity, read_at)


def _is_valid(held: HeldLeaf, now: datetime) -> bool:
    return held.pair.leaf.not_valid_before_utc <= now <= held.pair.leaf.not_valid_after_utc
