"""The operator's list in the settings file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from webhook.errors import ConfigurationError
from webhook.hooks.checksums.core.keys import Source, SourceKind
from webhook.hooks.checksums.core.optin import OperatorPolicy
from webhook.hooks.checksums.operator import OperatorFile, parse_operator
from webhook.hooks.checksums.settings import ChecksumSettings, LiveSettings

DB = Source(SourceKind.SECRET, "db")


def parsed(section: Any, own: str = "own") -> OperatorPolicy:
    """Parse a list."""
    return parse_operator({"rolloutChecksums": section}, default_namespace=own)


def test_names_and_provided_checksums() -> None:
    """An entry is a name, or a map of both; an empty checksum is none."""
    policy = parsed(
        {
            "enabled": True,
            "secrets": ["db", {"name": "tls", "checksum": "a" * 64}, {"name": "c", "checksum": ""}],
            "configMaps": ["app.v1"],
            "namespaces": ["shop"],
        }
    )
    assert policy.enabled
    assert policy.namespaces == {"shop"}
    assert {str(source): given for source, given in policy.sources.items()} == {
        "secret/db": None,
        "secret/tls": "a" * 64,
        "secret/c": None,
        "configmap/app.v1": None,
    }


def test_without_namespaces_it_is_our_own() -> None:
    """And if that is not known, a list that counts has to say where."""
    assert parsed({"enabled": True}).namespaces == {"own"}
    assert parsed(None) == OperatorPolicy(namespaces=frozenset({"own"}))
    with pytest.raises(ConfigurationError, match="namespaces is needed"):
        parsed({"enabled": True}, own="")


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ([], "has to be a map"),
        ({"enabled": "yes"}, "enabled"),
        ({"secrets": "db"}, "secrets has to be a list"),
        ({"secrets": ["A"]}, "'A'"),
        ({"secrets": [7]}, "'7'"),
        ({"secrets": [{"name": "db", "value": "x"}]}, "there is no value"),
        ({"secrets": [{"name": "db", "checksum": "abc"}]}, "the checksum of db"),
        ({"secrets": ["db", {"name": "db", "checksum": "a" * 64}]}, "names db twice"),
        ({"namespaces": "shop"}, "namespaces has to be a list"),
        ({"namespaces": ["a/b"]}, "'a/b'"),
    ],
)
def test_what_cannot_be_followed_is_named(section: Any, word: str) -> None:
    """So that the line in the values is found at once."""
    if section == []:
        section = [1]
    with pytest.raises(ConfigurationError) as refused:
        parsed(section)
    assert word in str(refused.value)


def test_a_change_is_taken_and_a_mistake_is_not(tmp_path: Path) -> None:
    """The last list that could be read stays, and the settings follow the file."""
    path = tmp_path / "settings.yaml"

    def write(text: str) -> None:
        # A mounted ConfigMap changes by being another file.
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.replace(path)

    write(json.dumps({"rolloutChecksums": {"enabled": True, "secrets": ["db"]}}))
    file = OperatorFile(path, default_namespace="own", log=structlog.get_logger())
    settings = LiveSettings(ChecksumSettings(max_concurrent=3), file)
    assert not file.look()
    assert set(settings.current().operator.sources) == {DB}
    write("rolloutChecksums: {secrets: 7}")
    assert not file.look()
    assert set(settings.current().operator.sources) == {DB}
    write("rolloutChecksums: {enabled: false}")
    assert file.look()
    assert settings.current().operator.enabled is False
    assert settings.current().max_concurrent == 3
    path.unlink()
    assert not file.look()


def test_a_list_that_is_wrong_at_the_start_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "settings.yaml"
    path.write_text("rolloutChecksums: {secrets: 7}")
    with pytest.raises(ConfigurationError, match=r"settings\.yaml: rolloutChecksums\.secrets"):
        OperatorFile(path, default_namespace="", log=structlog.get_logger())


def test_without_a_file_there_is_no_list() -> None:
    """And nothing to look at."""
    file = OperatorFile(None, default_namespace="own", log=structlog.get_logger())
    assert file.policy == OperatorPolicy()
    assert not file.look()
