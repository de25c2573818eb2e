"""The operator's list in the settings file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from webhook.checksums.core.keys import Source, SourceKind
from webhook.checksums.core.optin import OperatorPolicy
from webhook.checksums.policy_file import PolicyFile, parse_policy
from webhook.checksums.settings import ChecksumSettings, LiveSettings
from webhook.errors import ConfigurationError
from webhook.runtime.clock import Clock

DB = Source(SourceKind.SECRET, "db")


def parsed(section: Any, own: str = "own") -> OperatorPolicy:
    """Parse a list."""
    return parse_policy({"rolloutChecksums": section}, default_namespace=own)


def opened(path: Path | None, own: str = "own") -> PolicyFile:
    """Open a settings file."""
    return PolicyFile(path, default_namespace=own, clock=Clock(), log=structlog.get_logger())


def test_names_and_provided_checksums() -> None:
    """An entry is a name, or a map of name and checksum; an empty checksum is none."""
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


def test_without_namespaces_it_applies_to_the_own_one() -> None:
    """If that is unknown, an enabled list must name its namespaces."""
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
def test_the_invalid_part_is_named(section: Any, word: str) -> None:
    """So that the line in the values is easy to find."""
    if section == []:
        section = [1]
    with pytest.raises(ConfigurationError) as refused:
        parsed(section)
    assert word in str(refused.value)


def test_a_valid_change_is_taken_and_an_invalid_one_is_not(tmp_path: Path) -> None:
    """The last valid list stays, and the settings follow the file."""
    path = tmp_path / "settings.yaml"

    def write(text: str) -> None:
        # A mounted ConfigMap changes by becoming another file.
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.replace(path)

    write(json.dumps({"rolloutChecksums": {"enabled": True, "secrets": ["db"]}}))
    file = opened(path)
    settings = LiveSettings(ChecksumSettings(max_concurrent=3), file)
    assert not file.check()
    assert set(settings.current().policy.sources) == {DB}
    write("rolloutChecksums: {secrets: 7}")
    assert not file.check()
    assert set(settings.current().policy.sources) == {DB}
    write("rolloutChecksums: {enabled: false}")
    assert file.check()
    assert settings.current().policy.enabled is False
    assert settings.current().max_concurrent == 3
    path.unlink()
    assert not file.check()


def test_an_invalid_list_at_the_start_is_rejected(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "settings.yaml"
    path.write_text("rolloutChecksums: {secrets: 7}")
    with pytest.raises(ConfigurationError, match=r"settings\.yaml: rolloutChecksums\.secrets"):
        opened(path, own="")


def test_without_a_file_the_list_is_empty() -> None:
    """There is nothing to check either."""
    file = opened(None)
    assert file.policy == OperatorPolicy()
    assert not file.check()
