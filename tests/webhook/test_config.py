"""Where settings come from, which place wins, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webhook.config import Setting, Values, read_file
from webhook.errors import ConfigurationError
from webhook.values import duration_seconds, integer_between, text_value

PORT = Setting("server.listenPort", integer_between(1, 9), "5", "A port.", "OLD_PORT")
WAIT = Setting("wait", duration_seconds, "1s", "A wait.")
TOKEN = Setting("token", integer_between(1, 9), "1", "A secret.", secret=True)
NAMES = Setting("names", text_value, "", "Names.")


def values(
    *, flags: dict[str, str | None] | None = None, environ: dict[str, str] | None = None, file: Any = None
) -> Values:
    """Resolve the settings above."""
    return Values(
        (PORT, WAIT, TOKEN, NAMES),
        flags=flags or {},
        environ=environ or {},
        file=file,
        file_name="s.yaml",
        structured=("extra.tree",),
    )


def test_names_follow_from_the_name() -> None:
    """One name gives the flag, the parameter and the variables."""
    assert PORT.flag == "--server-listen-port"
    assert PORT.parameter == "server_listen_port"
    assert PORT.variables == ("ROLLONCE_SERVER_LISTEN_PORT", "OLD_PORT")


def test_flag_wins_over_environment_over_file_over_default() -> None:
    """Each place is asked in turn, and the value knows which one it came from."""
    file = {"server": {"listenPort": 4}}
    environ = {"ROLLONCE_SERVER_LISTEN_PORT": "3"}
    old = {"OLD_PORT": "2"}
    resolved = values(flags={"server_listen_port": "1"}, environ=environ | old, file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (1, "flag --server-listen-port")
    resolved = values(environ=environ | old, file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (3, "environment variable ROLLONCE_SERVER_LISTEN_PORT")
    resolved = values(environ=old, file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (2, "environment variable OLD_PORT")
    resolved = values(file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (4, "file s.yaml, server.listenPort")
    assert (values()[PORT], values().source(PORT)) == (5, "default")


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"flags": {"server_listen_port": "77"}}, "flag --server-listen-port: '77'"),
        ({"environ": {"OLD_PORT": "77"}}, "environment variable OLD_PORT: '77'"),
        ({"file": {"server": {"listenPort": 77}}}, "file s.yaml, server.listenPort: '77'"),
        ({"file": {"server": {"listenPort": None}}}, "file s.yaml, server.listenPort: ''"),
    ],
)
def test_a_wrong_value_names_itself_and_its_source(given: dict[str, Any], source: str) -> None:
    """The message says where the value stands, what it was, which setting it is for, and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        values(**given)
    assert str(caught.value) == f"{source} is not a valid server.listenPort: give a whole number from 1 to 9"


def test_a_secret_is_not_repeated() -> None:
    """A wrong password must not end up in a log."""
    with pytest.raises(ConfigurationError) as caught:
        values(environ={"ROLLONCE_TOKEN": "hush"})
    assert "hush" not in str(caught.value)
    assert "ROLLONCE_TOKEN" in str(caught.value)


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    """A misspelt key would otherwise be a setting that silently does nothing."""
    with pytest.raises(ConfigurationError, match=r"there is no setting server\.listenport\. Did you mean server\.li"):
        values(file={"server": {"listenport": 4}})


def test_structured_parts_are_left_to_whoever_they_are_for() -> None:
    """A part of the file that is no plain setting is passed over here."""
    assert values(file={"extra": {"tree": {"deep": [1]}}})[PORT] == 5


def test_lists_and_booleans_of_a_file_are_texts() -> None:
    """YAML's own types mean what their text means on the command line."""
    assert values(file={"names": ["a", "b"]})[NAMES] == "a,b"
    assert values(file={"names": True})[NAMES] == "true"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not YAML at line 1"),
        (b"- a", "map of settings"),
        (b"\xff\xfe\xfa", "not YAML"),
        (b"a: !!python/object/apply:os.system [true]", "not YAML"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that is no map in YAML is told with its name and line, and never executed."""
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_file(path)


def test_an_absent_file_is_refused_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    """A file that was named has to be there; one without settings is fine."""
    with pytest.raises(ConfigurationError, match="No such file"):
        read_file(tmp_path / "none.yaml")
    (tmp_path / "s.yaml").write_text("# nothing\n")
    assert read_file(tmp_path / "s.yaml") == {}
