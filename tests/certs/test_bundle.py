"""Bundles: laws of merging, and which servers a client accepts."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.bundle import Bundle, bundle_of, check_leaf, is_named, parse_bundle
from certs.errors import PemError, UntrustedError, ValidityError
from certs.pem import KeyPair
from tests.certs.samples import DAY, LOCAL, NAMES, NOW, YEAR, authority, foreign, identities, pair

AUTHORITIES = [authority(now=NOW - n * DAY, lifetime=YEAR + n * DAY) for n in (0, 0, 1, 2)]
CERTIFICATES = [a.certificate for a in AUTHORITIES]
BUNDLES = st.lists(st.sampled_from(CERTIFICATES), max_size=6).map(bundle_of)
SERVER = NAMES.api_server_name


@given(BUNDLES, BUNDLES, BUNDLES)
def test_merging_is_a_union(a: Bundle, b: Bundle, c: Bundle) -> None:
    """It is commutative, associative and idempotent, and has the certificates of both."""
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(a) == a
    assert a.merge(Bundle()) == a
    assert identities(a.merge(b)) == identities(a) | identities(b)


@given(BUNDLES)
def test_a_bundle_survives_encoding(bundle: Bundle) -> None:
    """Its bytes are the same after decoding."""
    decoded = parse_bundle(bundle.pem, what="test")
    assert decoded == bundle
    assert decoded.pem == bundle.pem


def test_the_newest_comes_first() -> None:
    """A reader of the YAML sees the current CA first."""
    starts = [c.not_valid_before_utc for c in bundle_of(CERTIFICATES).certificates]
    assert starts == sorted(starts, reverse=True)


def test_expiry_is_that_of_the_first_to_end() -> None:
    """It is None for an empty bundle."""
    early = authority(lifetime=DAY)
    bundle = bundle_of([early.certificate, CERTIFICATES[0]])
    assert bundle.expires == NOW + DAY
    assert bundle.valid_at(NOW + 2 * DAY) == bundle_of([CERTIFICATES[0]])
    assert Bundle().expires is None


def test_a_blank_text_is_the_empty_bundle() -> None:
    """An empty caBundle is valid in a webhook configuration; any other text without certificates is an error."""
    assert parse_bundle(b" \n", what="caBundle") == Bundle()
    with pytest.raises(PemError, match="caBundle"):
        parse_bundle(b"rubbish", what="caBundle")


def test_a_client_with_the_authority_accepts_its_leaf() -> None:
    """For each of its names, with further certificates in the bundle."""
    ca = AUTHORITIES[0]
    leaf = pair(authority(names=LOCAL), names=LOCAL)
    for name in NAMES.dns_names:
        check_leaf(pair(ca).chain, bundle_of(CERTIFICATES), server_name=name, now=NOW)
    with pytest.raises(UntrustedError, match="does not chain"):
        check_leaf(leaf.chain, bundle_of(CERTIFICATES), server_name=SERVER, now=NOW)


def test_a_leaf_is_accepted_by_address_if_permitted() -> None:
    """Webhooks that are registered by `url` need this."""
    ca = authority(names=LOCAL)
    leaf = pair(ca, names=LOCAL)
    check_leaf(leaf.chain, bundle_of([ca.certificate]), server_name="127.0.0.1", now=NOW)
    with pytest.raises(UntrustedError, match=r"not for 127\.0\.0\.2"):
        check_leaf(leaf.chain, bundle_of([ca.certificate]), server_name="127.0.0.2", now=NOW)


def test_a_client_with_an_empty_bundle_accepts_nothing() -> None:
    """The message names the empty bundle instead of the chain."""
    with pytest.raises(UntrustedError, match="bundle is empty"):
        check_leaf(pair(AUTHORITIES[0]).chain, Bundle(), server_name=SERVER, now=NOW)


@pytest.mark.parametrize("offset", [-2 * DAY, timedelta(hours=25)])
def test_a_leaf_that_is_not_valid_is_not_accepted(offset: timedelta) -> None:
    """It has expired, or is not valid yet."""
    leaf = pair(AUTHORITIES[3], now=NOW)
    with pytest.raises(ValidityError):
        check_leaf(leaf.chain, bundle_of(CERTIFICATES), server_name=SERVER, now=NOW + offset)


def test_a_leaf_for_another_name_is_not_accepted() -> None:
    """Nor is one without any alternative name."""
    ca = AUTHORITIES[0]
    for chain in (pair(ca).chain, foreign().chain):
        with pytest.raises(UntrustedError, match=r"not for other\.prod\.svc"):
            check_leaf(chain, bundle_of(CERTIFICATES), server_name="other.prod.svc", now=NOW)


@pytest.mark.parametrize("use_rsa", [False, True])
@pytest.mark.parametrize("ca", [None, False, True])
def test_a_self_signed_leaf_is_accepted_if_it_is_in_the_bundle(*, use_rsa: bool, ca: bool | None) -> None:
    """Go does the same; users who make a single certificate by hand need it."""
    made: KeyPair = foreign(dns_names=(SERVER,), use_rsa=use_rsa, ca=ca)
    check_leaf(made.chain, bundle_of(made.chain), server_name=SERVER, now=NOW)


def test_a_wildcard_covers_one_level() -> None:
    """RFC 6125: a wildcard stands for the leftmost label only."""
    leaf = foreign(dns_names=("*.prod.svc",)).leaf
    assert is_named(leaf, "Rollonce.prod.svc")
    assert not is_named(leaf, "a.rollonce.prod.svc")
    assert not is_named(leaf, "prod.svc")
