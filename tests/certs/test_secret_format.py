"""The stored form of the CA Secret."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.ca_state import CaState, Retired, Staged
from certs.errors import CertificateError, FormatError, SecretError
from certs.pem import encode_key
from certs.secret_format import KEYS, decode_state, encode_state
from tests.certs.samples import DAY, NOW, authority, pair

A, B, C, D = (authority() for _ in range(4))
FULL = CaState(
    A, Staged(B, NOW + timedelta(microseconds=5)), (Retired(C.certificate, NOW + DAY), Retired(D.certificate)), NOW
)
DATA = encode_state(FULL)


def as_comparable(state: CaState | None) -> object:
    """Return a value that can be compared, because keys cannot be."""
    assert state is not None
    keys = [encode_key(a.key) for a in (state.current, state.next and state.next.authority) if a]
    return (state.bundle, keys, state.previous, state.renew_leaves_at, state.next and state.next.confirmed_at)


@pytest.mark.parametrize(
    ("current", "following", "previous", "renew_leaves_at"),
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
    current: object, following: object, previous: tuple[Retired, ...], renew_leaves_at: object
) -> None:
    """Each place of a CA, with its times."""
    state = CaState(current, following, previous, renew_leaves_at)  # type: ignore[arg-type]  # product() forgets types
    assert as_comparable(decode_state(encode_state(state))) == as_comparable(state)
    assert set(encode_state(state)) <= set(KEYS)


def test_a_secret_without_content_has_no_state() -> None:
    """Other keys in it are ignored."""
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
def test_the_error_names_the_damaged_part(key: str, value: bytes, message: str) -> None:
    """One damaged part makes the whole Secret unusable."""
    with pytest.raises(SecretError, match=message):
        decode_state(DATA | {key: value})


def test_a_state_without_a_ca_that_can_sign_is_an_error() -> None:
    """There is neither a current CA nor a next one."""
    with pytest.raises(SecretError, match="neither"):
        decode_state({key: DATA[key] for key in ("previous.crt", "state.json")})


def test_a_later_format_is_an_error_of_its_own() -> None:
    """An older controller must not overwrite it; an unknown field alone is ignored."""
    with pytest.raises(FormatError, match="format 2"):
        decode_state(DATA | {"state.json": b'{"version": 2, "confirmedAt": []}'})
    decoded = decode_state(DATA | {"state.json": b'{"version": 1, "more": true}'})
    assert decoded is not None
    assert decoded.bundle == FULL.bundle


@given(st.sampled_from(KEYS), st.integers(0, 2000), st.binary(max_size=20))
def test_damage_never_raises_anything_else(key: str, at: int, junk: bytes) -> None:
    """Any change of a value gives another valid state or a CertificateError."""
    damaged = DATA[key][:at] + junk + DATA[key][at + len(junk) + 1 :]
    try:
        decode_state(DATA | {key: damaged})
    except CertificateError:
        return
