"""The content of the CA Secret, and the changes that a rotation makes to it, each as a function.

A CA passes through three places: `next` (published, does not sign yet), `current` (signs) and `previous` (still
published for the leaves that it signed). Pure.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from certs.authority import Authority
from certs.bundle import Bundle, bundle_of


@dataclass(frozen=True, slots=True)
class Staged:
    """A CA that will sign after the current one.

    Attributes:
        authority: The CA.
        confirmed_at: When every webhook was first seen to trust it; None before that.
    """

    authority: Authority
    confirmed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retired:
    """A CA that no longer signs.

    Attributes:
        certificate: Its certificate; its key is deleted.
        drop_after: After this time no leaf of it is valid, and it need not be trusted. None until a rotator has read
            that it is retired: only then is it certain that each of its leaves was signed before that moment.
    """

    certificate: x509.Certificate
    drop_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class CaState:
    """The content of the CA Secret.

    Attributes:
        current: Signs leaves. None only after the Secret was lost, and with it the key of a CA that webhooks trust.
        next: Signs once every API server trusts it.
        previous: Trusted until their last leaf has expired.
        renew_leaves_at: Replicas replace leaves that were issued before this moment; set on request.

    Raises:
        ValueError: There is neither a current CA nor a next one.
    """

    current: Authority | None
    next: Staged | None = None
    previous: tuple[Retired, ...] = ()
    renew_leaves_at: datetime | None = None

    @property
    def bundle(self) -> Bundle:
        """The CAs that every webhook has to trust in this state."""
        certificates = [retired.certificate for retired in self.previous]
        certificates += [authority.certificate for authority in self._authorities]
        return bundle_of(certificates)

    @property
    def signer(self) -> Authority:
        """The CA that signs a leaf for a replica that has none."""
        return self._authorities[0]

    def __post_init__(self) -> None:
        """Reject a state in which no CA can sign."""
        if not self._authorities:
            raise ValueError("a state has a current CA or a next one")

    @property
    def _authorities(self) -> tuple[Authority, ...]:
        staged = (self.next.authority,) if self.next else ()
        return (self.current, *staged) if self.current else staged


def created(authority: Authority, *, trusted: Bundle) -> CaState:
    """Return the first state of a Secret.

    Args:
        authority: The new CA.
        trusted: CAs that webhooks trust already, because an earlier Secret was lost: replicas still serve leaves of
            them.
    """
    if not trusted.certificates:
        return CaState(current=authority)
    previous = tuple(Retired(certificate) for certificate in trusted.certificates)
    return CaState(current=None, next=Staged(authority), previous=previous)


def staged(state: CaState, authority: Authority) -> CaState:
    """Return the state with a next CA; it replaces one that was staged before and is too old now."""
    previous = state.previous
    if state.next and state.current is None:
        # Without a current CA, replicas that had no leaf signed by the staged one.
        previous = (Retired(state.next.authority.certificate), *previous)
    return replace(state, next=Staged(authority), previous=previous)


def confirmed(state: CaState, *, now: datetime) -> CaState:
    """Return the state with the time at which every webhook was seen to trust the next CA."""
    return replace(state, next=Staged(_next_of(state), confirmed_at=now))


def promoted(state: CaState) -> CaState:
    """Return the state in which the next CA signs, and the one before is still trusted."""
    previous = state.previous
    if state.current:
        previous = (Retired(state.current.certificate), *previous)
    return replace(state, current=_next_of(state), next=None, previous=previous)


def scheduled(state: CaState, *, drop_after: datetime) -> CaState:
    """Return the state with an end for each retired CA that has none, at the latest the end of its certificate."""
    return replace(
        state,
        previous=tuple(
            Retired(retired.certificate, retired.drop_after or min(drop_after, retired.certificate.not_valid_after_utc))
            for retired in state.previous
        ),
    )


def dropped(state: CaState, *, now: datetime) -> CaState:
    """Return the state without the CAs that no valid leaf needs any more."""
    kept = tuple(retired for retired in state.previous if retired.drop_after is None or now <= retired.drop_after)
    return replace(state, previous=kept)


def with_fresh_leaves(state: CaState, *, now: datetime) -> CaState:
    """Return the state with the request that every replica replaces its leaf."""
    return replace(state, renew_leaves_at=now)


def _next_of(state: CaState) -> Authority:
    if state.next is None:
        raise ValueError("no CA is staged")
    return state.next.authority
