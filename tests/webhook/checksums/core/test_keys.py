"""The names of annotations."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.checksums.manifests import config_map, secret
from webhook.checksums.core.keys import (
    Source,
    SourceKind,
    format_managed,
    is_checksum_key,
    is_legal_name,
    parse_managed,
)

#: The rule of the API server for the part of a key after the slash.
LEGAL_KEY_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True).filter(is_legal_name)
SOURCES = st.builds(Source, st.sampled_from(SourceKind), NAMES)


def test_short_names_are_readable() -> None:
    """The key contains the name unchanged."""
    assert secret("db").key == "checksum/secret.db"
    assert config_map("app.config").key == "checksum/configmap.app.config"


@pytest.mark.parametrize(("kind", "room"), [(SourceKind.SECRET, 56), (SourceKind.CONFIG_MAP, 53)])
def test_a_name_that_just_fits_is_kept_and_a_longer_one_is_cut(kind: SourceKind, room: int) -> None:
    """The limit is 63 characters after the slash."""
    assert Source(kind, "n" * room).key == f"checksum/{kind.value}." + "n" * room
    longer = "n" * (room + 1)
    digest = hashlib.sha256(longer.encode()).hexdigest()[:10]
    assert Source(kind, longer).key == f"checksum/{kind.value}." + "n" * (room - 11) + "-" + digest


@given(source=SOURCES)
def test_every_key_is_legal(source: Source) -> None:
    """The API server accepts the key of every name, and rollonce recognizes it."""
    prefix, name = source.key.split("/")
    assert prefix == "checksum"
    assert len(name) <= 63
    assert LEGAL_KEY_NAME.fullmatch(name)
    assert is_checksum_key(source.key)


@given(sources=st.sets(SOURCES, min_size=2))
def test_different_sources_have_different_keys(sources: set[Source]) -> None:
    """No two sources share a key."""
    assert len({source.key for source in sources}) == len(sources)


def test_names_with_a_common_prefix_have_different_keys() -> None:
    """The part that is cut off changes the hash."""
    assert secret("n" * 100 + "1").key != secret("n" * 100 + "2").key


@given(keys=st.frozensets(SOURCES.map(lambda source: source.key)))
def test_the_managed_list_is_read_as_it_was_written(keys: frozenset[str]) -> None:
    """Formatting and parsing are inverse."""
    assert parse_managed(format_managed(keys)) == keys


def test_the_managed_list_contains_only_keys_of_rollonce() -> None:
    """An edited list cannot make rollonce remove an annotation of another program."""
    text = "checksum/config, example.com/owner,checksum/secret.db ,checksum/secret.,checksum/secret.UPPER,,secret.x"
    assert parse_managed(text) == {"checksum/secret.db"}
    assert parse_managed(None) == frozenset()


@pytest.mark.parametrize("name", ["a", "db", "a.b-c.d", "0", "n" * 253])
def test_legal_names(name: str) -> None:
    """RFC 1123 subdomains."""
    assert is_legal_name(name)


@pytest.mark.parametrize(
    "name", ["", "Db", "-a", "a-", "a..b", ".a", "a.", "a_b", "a/b", "../x", "ä", "n" * 254, "a\n"]
)
def test_illegal_names(name: str) -> None:
    """Everything else, such as names that would change a path."""
    assert not is_legal_name(name)


def test_the_text_of_a_source() -> None:
    """It has the form that `kubectl get` accepts."""
    assert str(secret("db")) == "secret/db"
    assert str(config_map("app")) == "configmap/app"
    assert SourceKind.CONFIG_MAP.plural == "configmaps"
    assert SourceKind.CONFIG_MAP.title == "ConfigMap"
