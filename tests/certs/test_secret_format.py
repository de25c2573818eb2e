"""The CA Secret's content, in and out."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import CertificateError, FormatError, SecretError
from certs.pem import encode_key
from certs.secret_format import KEYS, decode_state, encode_state
from certs.state import CaState, Retired, Staged
from tests.certs.samples import DAY, NOW, authority, pair

A, B, C, D = (authority() for _ in range(4))
FULL = CaState(
    A, Staged(B, NOW + timedelta(microseconds=5)), (Retired(C.certificate, NOW + DAY), Retired(D.certificate)), NOW
)
DATA = encode_state(FULL)


def as_comparable(state: CaState | None) -> object:
    """Keys have no equality, their bytes have."""
    assert state is not None
    keys = [encode_key(a.key) for a in (state.current, state.next and state.next.authority) if a]
    return (state.bundle, keys, state.previous, state.renew_leaves_at, state.next and state.next.confirmed_at)


@pytest.mark.parametrize(
    ("current", "following", "previous", "wish"),
    [
        combination
        for combination in product(
            (None, A),
            (None, Staged(B), Staged(B, NOW)),
            ((), (Retired(C.certificate),), (Retired(C.certificate, NOW), Retired(D.certificate))),
            (None, NOW),
        )
        if combination[0] or combination[1]
    ],
)
def test_every_state_survives_encoding(
    current: object, following: object, previous: tuple[Retired, ...], wish: object
) -> None:
    """In whatever place a CA is, with its times."""
    state = CaState(current, following, previous, wish)  # type: ignore[arg-type]  # product() forgets types
    assert as_comparable(decode_state(encode_state(state))) == as_comparable(state)
    assert set(encode_state(state)) <= set(KEYS)


def test_a_secret_made_for_us_to_fill_is_empty() -> None:
    """Also if it holds keys of somebody else."""
    assert decode_state({}) is None
    assert decode_state({"foreign": b"x", "ca.crt": b""}) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ca.crt", b"", "ca.crt/ca.key certificate"),
        ("ca.key", b"rubbish", "ca.crt/ca.key key"),
        ("ca.key", encode_key(B.key), "does not belong"),
        ("next.crt", pair(A).chain_pem, "next.crt/next.key"),
        ("previous.crt", b"rubbish", "previous.crt"),
        ("state.json", b"", "state.json"),
        ("state.json", b'{"version": 1, "confirmedAt": "2026-01-01T00:00:00"}', "state.json"),
        ("state.json", b'{"version": "x"}', "state.json"),
    ],
)
def test_what_is_damaged_is_named(key: str, value: bytes, message: str) -> None:
    """One damaged part makes the whole unusable, and the message says which."""
    with pytest.raises(SecretError, match=message):
        decode_state(DATA | {key: value})


def test_certificates_of_none_that_can_sign_are_not_enough() -> None:
    """There is neither a current CA nor a next one."""
    with pytest.raises(SecretError, match="neither"):
        decode_state({key: DATA[key] for key in ("previous.crt", "state.json")})


def test_a_later_format_is_left_alone() -> None:
    """It is no damage: a controller that is older must not overwrite it. What is only added does no harm."""
    with pytest.raises(FormatError, match="format 2"):
        decode_state(DATA | {"state.json": b'{"version": 2, "confirmedAt": []}'})
    decoded = decode_state(DATA | {"state.json": b'{"version": 1, "more": true}'})
    assert decoded is not None
    assert decoded.bundle == FULL.bundle


@given(st.sampled_from(KEYS), st.integers(0, 2000), st.binary(max_size=20))
def test_damage_never_raises_anything_else(key: str, at: int, junk: bytes) -> None:
    """Any splice is either readable or a clear error."""
    damaged = DATA[key][:at] + junk + DATA[key][at + len(junk) + 1 :]
    try:
        decode_state(DATA | {key: damaged})
    except CertificateError:
        return
