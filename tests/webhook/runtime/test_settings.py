"""The sources of settings, their precedence, and the messages about wrong values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webhook.errors import ConfigurationError
from webhook.runtime.parsers import duration_seconds, integer_between, text_value
from webhook.runtime.settings import Setting, Settings, read_file

PORT = Setting("server.listenPort", integer_between(1, 9), "5", "A port.", "OLD_PORT")
WAIT = Setting("wait", duration_seconds, "1s", "A wait.")
TOKEN = Setting("token", integer_between(1, 9), "1", "A secret.", secret=True)
NAMES = Setting("names", text_value, "", "Names.")


def resolve(
    *, flags: dict[str, str | None] | None = None, environ: dict[str, str] | None = None, file: Any = None
) -> Settings:
    """Resolve the settings above."""
    return Settings(
        (PORT, WAIT, TOKEN, NAMES),
        flags=flags or {},
        environ=environ or {},
        file=file,
        file_name="s.yaml",
        structured=("extra.tree",),
    )


def test_flag_and_variables_follow_from_the_name() -> None:
    """The name of a setting gives the flag, the parameter and the environment variables."""
    assert PORT.flag == "--server-listen-port"
    assert PORT.parameter == "server_listen_port"
    assert PORT.variables == ("ROLLONCE_SERVER_LISTEN_PORT", "OLD_PORT")


def test_a_flag_overrides_environment_and_file_and_default() -> None:
    """The precedence is flag, environment, file, default, and `source` returns which of them gave the value."""
    file = {"server": {"listenPort": 4}}
    environ = {"ROLLONCE_SERVER_LISTEN_PORT": "3"}
    old = {"OLD_PORT": "2"}
    resolved = resolve(flags={"server_listen_port": "1"}, environ=environ | old, file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (1, "flag --server-listen-port")
    resolved = resolve(environ=environ | old, file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (3, "environment variable ROLLONCE_SERVER_LISTEN_PORT")
    resolved = resolve(environ=old, file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (2, "environment variable OLD_PORT")
    resolved = resolve(file=file)
    assert (resolved[PORT], resolved.source(PORT)) == (4, "file s.yaml, server.listenPort")
    assert (resolve()[PORT], resolve().source(PORT)) == (5, "default of --server-listen-port")


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"flags": {"server_listen_port": "77"}}, "flag --server-listen-port: '77'"),
        ({"environ": {"OLD_PORT": "77"}}, "environment variable OLD_PORT: '77'"),
        ({"file": {"server": {"listenPort": 77}}}, "file s.yaml, server.listenPort: '77'"),
        ({"file": {"server": {"listenPort": None}}}, "file s.yaml, server.listenPort: ''"),
    ],
)
def test_the_message_names_a_wrong_value_and_its_source(given: dict[str, Any], source: str) -> None:
    """The message has the source, the value, the setting, and the allowed values."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(**given)
    assert str(caught.value) == f"{source} is not a valid server.listenPort: give a whole number from 1 to 9"


def test_the_message_does_not_repeat_a_secret() -> None:
    """The message about a wrong secret has its source and not its value."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(environ={"ROLLONCE_TOKEN": "hush"})
    assert "hush" not in str(caught.value)
    assert "ROLLONCE_TOKEN" in str(caught.value)


def test_an_unknown_key_is_rejected_with_the_nearest_name() -> None:
    """The message about an unknown key of the file suggests the nearest name of a setting."""
    with pytest.raises(ConfigurationError, match=r"there is no setting server\.listenport\. Did you mean server\.li"):
        resolve(file={"server": {"listenport": 4}})


def test_structured_parts_are_ignored() -> None:
    """A declared part of the file that is not a plain setting is ignored here."""
    assert resolve(file={"extra": {"tree": {"deep": [1]}}})[PORT] == 5


def test_lists_and_booleans_of_a_file_become_texts() -> None:
    """A list or boolean of YAML has the same meaning as its text on the command line."""
    assert resolve(file={"names": ["a", "b"]})[NAMES] == "a,b"
    assert resolve(file={"names": True})[NAMES] == "true"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not YAML at line 1"),
        (b"- a", "map of settings"),
        (b"\xff\xfe\xfa", "not YAML"),
        (b"a: !!python/object/apply:os.system [true]", "not YAML"),
    ],
)
def test_a_broken_file_is_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that is not a map in YAML is rejected with its line, and no tag in it is executed."""
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_file(path)


def test_an_absent_file_is_rejected_and_an_empty_file_has_no_settings(tmp_path: Path) -> None:
    """A named file must exist; a file without settings gives an empty map."""
    with pytest.raises(ConfigurationError, match="No such file"):
        read_file(tmp_path / "none.yaml")
    (tmp_path / "s.yaml").write_text("# nothing\n")
    assert read_file(tmp_path / "s.yaml") == {}
