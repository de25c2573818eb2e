"""What the CA Secret says, and the changes that a rotation makes to it, each as a function.

A CA goes through three places: `next` (published, not signing yet), `current` (signing) and `previous` (still published
for the leaves that it signed).
"""

from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from certs.authority import Authority, fingerprint
from certs.bundle import Bundle, bundle_of


@dataclass(frozen=True, slots=True)
class Staged:
    """A CA that is to take over.

    Args:
        authority: The CA.
        confirmed_at: When every webhook was first seen to trust it; None before that.
    """

    authority: Authority
    confirmed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retired:
    """A CA that signs no more.

    Args:
        certificate: Its certificate; its key is gone.
        drop_after: From then on no leaf of it is valid any more, and it need not be trusted. None until somebody has
            read that it is retired: only then is it sure that every leaf of it was signed before that moment.
    """

    certificate: x509.Certificate
    drop_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class CaState:
    """The content of the CA Secret.

    Args:
        current: Signs leaves. None only after the Secret was lost, and with it the key of a CA that webhooks trust.
        next: Takes over once every API server trusts it.
        previous: Trusted until their last leaf has expired.
        renew_leaves_at: Leaves issued before this moment are to be replaced, on an operator's wish.
    """

    current: Authority | None
    next: Staged | None = None
    previous: tuple[Retired, ...] = ()
    renew_leaves_at: datetime | None = None

    @property
    def bundle(self) -> Bundle:
        """What every webhook has to trust in this state."""
        certificates = [retired.certificate for retired in self.previous]
        certificates += [authority.certificate for authority in self._authorities]
        return bundle_of(certificates)

    @property
    def signer(self) -> Authority:
        """Who signs a leaf for a replica that has none."""
        return self._authorities[0]

    def __post_init__(self) -> None:
        if not self._authorities:
            raise ValueError("a state has a current CA or a next one")

    @property
    def _authorities(self) -> tuple[Authority, ...]:
        staged = (self.next.authority,) if self.next else ()
        return (self.current, *staged) if self.current else staged


def created(authority: Authority, *, trusted: Bundle) -> CaState:
    """The first state of a Secret.

    Args:
        authority: The new CA.
        trusted: What webhooks trust already, because an earlier Secret was lost: replicas still serve leaves of it.
    """
    if not trusted.certificates:
        return CaState(current=authority)
    previous = tuple(Retired(certificate) for certificate in trusted.certificates)
    return CaState(current=None, next=Staged(authority), previous=previous)


def staged(state: CaState, authority: Authority) -> CaState:
    """With a CA that is to take over; one that was staged before and got too old is replaced."""
    previous = state.previous
    if state.next and state.current is None:
        # Without a current CA, replicas that had no leaf took the staged one to sign.
        previous = (Retired(state.next.authority.certificate), *previous)
    return replace(state, next=Staged(authority), previous=previous)


def confirmed(state: CaState, *, now: datetime) -> CaState:
    """With the note that every webhook trusts the next CA."""
    return replace(state, next=Staged(_next_of(state), confirmed_at=now))


def promoted(state: CaState) -> CaState:
    """With the next CA signing, and the one before still trusted."""
    previous = state.previous
    if state.current:
        previous = (Retired(state.current.certificate), *previous)
    return replace(state, current=_next_of(state), next=None, previous=previous)


def scheduled(state: CaState, *, drop_after: datetime) -> CaState:
    """With an end for each retired CA that has none yet, at the latest that of its certificate."""
    return replace(
        state,
        previous=tuple(
            Retired(retired.certificate, retired.drop_after or min(drop_after, retired.certificate.not_valid_after_utc))
            for retired in state.previous
        ),
    )


def dropped(state: CaState, *, now: datetime) -> CaState:
    """Without the CAs that no valid leaf needs any more."""
    kept = tuple(retired for retired in state.previous if retired.drop_after is None or now <= retired.drop_after)
    return replace(state, previous=kept)


def with_fresh_leaves(state: CaState, *, now: datetime) -> CaState:
    """With the wish that every replica replaces its leaf."""
    return replace(state, renew_leaves_at=now)


def _next_of(state: CaState) -> Authority:
    if state.next is None:
        raise ValueError("no CA is staged")
    return state.next.authority


def identities_of(state: CaState) -> dict[str, str]:
    """Each CA's fingerprint and place (`current`, `next`, `previous`), for people."""
    places = {fingerprint(retired.certificate): "previous" for retired in state.previous}
    if state.next:
        places[state.next.authority.identity] = "next"
    if state.current:
        places[state.current.identity] = "current"
    return places
