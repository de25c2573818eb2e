"""Where settings come from: flags, then the environment, then a file, then defaults; read once.

A setting is declared once and carries its flag, its environment variable, its key in the file, its parser and its help.
A wrong value is refused at the start with the setting's name, where the value came from and what would be right.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from webhook.errors import ConfigurationError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One setting.

    Attributes:
        name: Its key in the file, in parts separated by dots: `redis.url`. The flag and the environment variable follow
            from it: `--redis-url`, `ROLLONCE_REDIS_URL`.
        parse: Makes the value of the text; raises ValueError that says what is allowed.
        default: The text that holds if none is given.
        help: One sentence for the command line's help.
        environment: Another environment variable that is read where the derived one is not set.
        secret: Whether the value may not be repeated in a message, nor be given as a flag, which every user of the
            machine could read.
    """

    name: str
    parse: Callable[[str], T]
    default: str
    help: str
    environment: str = ""
    secret: bool = False

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return "--" + _kebab(self.name)

    @property
    def parameter(self) -> str:
        """The option's name in code."""
        return _kebab(self.name).replace("-", "_")

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables, in the order in which they are asked."""
        derived = "ROLLONCE_" + self.parameter.upper()
        return (derived, self.environment) if self.environment else (derived,)


class Values:
    """The values of settings, each with the place that it came from.

    Args:
        settings: Those that exist.
        flags: What the command line gave, by `Setting.parameter`.
        environ: The environment.
        file: The contents of the file, as nested maps.
        file_name: The file, for messages.

    Raises:
        ConfigurationError: A value is wrong, or the file has a key that nobody knows.
    """

    def __init__(
        self,
        settings: Iterable[Setting[Any]],
        *,
        flags: Mapping[str, str | None],
        environ: Mapping[str, str],
        file: Mapping[str, Any] | None = None,
        file_name: str = "",
        structured: Iterable[str] = (),
    ) -> None:
        settings = tuple(settings)
        self._file = Path(file_name) if file_name else None
        flat = dict(_flatten(file or {}, structured=frozenset(structured)))
        _refuse_unknown(flat, {setting.name for setting in settings}, file_name)
        self._values: dict[str, Any] = {}
        self._sources: dict[str, str] = {}
        for setting in settings:
            text, source = _find(setting, flags=flags, environ=environ, flat=flat, file_name=file_name)
            try:
                self._values[setting.name] = setting.parse(text)
            except ValueError as error:
                shown = "the value" if setting.secret else repr(text)
                raise ConfigurationError(f"{source}: {shown} is not a valid {setting.name}: {error}") from None
            self._sources[setting.name] = source

    def __getitem__(self, setting: Setting[T]) -> T:
        value: T = self._values[setting.name]
        return value

    @property
    def file(self) -> Path | None:
        """The file, for whoever reads its structured parts; None if there is none."""
        return self._file

    def source(self, setting: Setting[Any]) -> str:
        """Say where a value came from, such as `flag --redis-url` or `default`."""
        return self._sources[setting.name]


def read_file(path: Path) -> Mapping[str, Any]:
    """Read a settings file: YAML, or JSON, which is YAML too.

    Raises:
        ConfigurationError: It cannot be read or is no map; the message names the line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"Cannot read the settings file {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"The settings file {path} is not YAML{where}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"The settings file {path} has to be a map of settings.")
    return content


def _kebab(name: str) -> str:
    # A run of capitals is one word: `clientCA` is `client-ca`.
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace(".", "-").lower()


def _flatten(tree: Mapping[str, Any], *, structured: frozenset[str], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if name in structured:
            continue
        if isinstance(value, dict):
            yield from _flatten(value, structured=structured, prefix=f"{name}.")
        elif isinstance(value, bool):
            yield name, "true" if value else "false"
        elif isinstance(value, list):
            yield name, ",".join(str(item) for item in value)
        else:
            yield name, "" if value is None else str(value)


def _refuse_unknown(flat: Mapping[str, str], known: set[str], file_name: str) -> None:
    for name in flat:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"file {file_name}: there is no setting {name}.{hint}")


def _find(
    setting: Setting[Any],
    *,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    flat: Mapping[str, str],
    file_name: str,
) -> tuple[str, str]:
    if (given := flags.get(setting.parameter)) is not None:
        return given, f"flag {setting.flag}"
    for variable in setting.variables:
        if variable in environ:
            return environ[variable], f"environment variable {variable}"
    if setting.name in flat:
        return flat[setting.name], f"file {file_name}, {setting.name}"
    return setting.default, "default"
