"""Settings: read once from flags, the environment, a file and defaults, in this order of precedence.

A setting is declared once. Its flag, environment variable, key in the file and documentation follow from that
declaration. A wrong value ends the program at its start, with the setting's name, the source of the value and what is
allowed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import yaml

from webhook.errors import ConfigurationError

T = TypeVar("T")

_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One setting.

    Attributes:
        name: Its key in the file, with dots between levels: `redis.url`. The flag and the environment variable follow
            from it: `--redis-url`, `ROLLONCE_REDIS_URL`.
        parse: Converts the text; raises ValueError that says what is allowed.
        default: The text that is used if none is given.
        help: One sentence for the command line's help.
        environment: Another environment variable that is read if the derived one is not set.
        secret: Whether the value must not be repeated in a message.
    """

    name: str
    parse: Callable[[str], T]
    default: str
    help: str
    environment: str = ""
    secret: bool = False

    @property
    def flag(self) -> str:
        """The command line option."""
        return "--" + _kebab(self.name)

    @property
    def parameter(self) -> str:
        """The option's name as a Python parameter."""
        return _kebab(self.name).replace("-", "_")

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables, in the order in which they are read."""
        derived = "ROLLONCE_" + self.parameter.upper()
        return (derived, self.environment) if self.environment else (derived,)


class _Place(Enum):
    """Where a value was found."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class _Found:
    """The text of a value.

    Attributes:
        text: The text.
        place: Where it was found.
        source: The same for messages.
    """

    text: str = field(repr=False)
    place: _Place
    source: str


class Settings:
    """The values of settings, each with its source.

    Args:
        settings: The declared settings.
        flags: The values given on the command line, by `Setting.parameter`.
        environ: The environment.
        file: The contents of the file, as nested maps.
        file_name: The path of the file, for messages.
        structured: Keys of the file that are not plain settings and are read elsewhere.

    Raises:
        ConfigurationError: A value is wrong, or the file has an unknown key.
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
        self._found: dict[str, _Found] = {}
        for setting in settings:
            found = _find(setting, flags=flags, environ=environ, flat=flat, file_name=file_name)
            try:
                self._values[setting.name] = setting.parse(found.text)
            except ValueError as error:
                shown = "the value" if setting.secret else repr(found.text)
                raise ConfigurationError(f"{found.source}: {shown} is not a valid {setting.name}: {error}") from None
            self._found[setting.name] = found

    def __getitem__(self, setting: Setting[T]) -> T:
        value: T = self._values[setting.name]
        return value

    @property
    def file(self) -> Path | None:
        """The settings file, for reading its structured keys; None if there is none."""
        return self._file

    def source(self, setting: Setting[Any]) -> str:
        """Return the source of a value, such as `flag --redis-url` or `default of --redis-url`."""
        return self._found[setting.name].source

    def arguments(self, settings: Iterable[Setting[Any]]) -> tuple[str, ...]:
        """Return the command line arguments that give another command the values that are not in the file."""
        found = ((setting.flag, self._found[setting.name]) for setting in settings)
        return tuple(f"{flag}={one.text}" for flag, one in found if one.place in {_Place.FLAG, _Place.ENVIRONMENT})

    def sources(self, *settings: Setting[Any]) -> str:
        """Return the sources of values that contradict each other, for the beginning of a message.

        Defaults are left out if another value was given: that one is to be changed.
        """
        given = [one for one in settings if self._found[one.name].place is not _Place.DEFAULT]
        return ", ".join(map(self.source, given or settings))


@dataclass(frozen=True, slots=True)
class SettingsCatalogue:
    """All settings of all programs: one settings file serves them all.

    Attributes:
        settings: The declared settings, each once.
        structured: Keys of the file that are not plain settings and are read elsewhere.
    """

    settings: tuple[Setting[Any], ...]
    structured: frozenset[str] = frozenset()

    def resolve(
        self, flags: Mapping[str, str | None], *, config: Path | None, environ: Mapping[str, str] | None = None
    ) -> Settings:
        """Return the value of each setting.

        Args:
            flags: The values given on the command line, by `Setting.parameter`; None where none was given.
            config: The settings file, if one was given.
            environ: The environment; that of the process by default.

        Raises:
            ConfigurationError: A value is wrong; the message names the setting and the source of the value.
        """
        return Settings(
            self.settings,
            flags=flags,
            environ=os.environ if environ is None else environ,
            file=read_file(config) if config else None,
            file_name=str(config or ""),
            structured=self.structured,
        )


def read_file(path: Path) -> Mapping[str, Any]:
    """Read a settings file: YAML, or JSON, which is YAML too.

    Raises:
        ConfigurationError: The file cannot be read or is not a map; the message names the line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"Cannot read the settings file {path}: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The parser raises ValueError for what looks like a date and is none, and for bytes that are no text.
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"The settings file {path} is not YAML{where}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"The settings file {path} must be a map of settings.")
    return content


def _kebab(name: str) -> str:
    # Several capitals in a row are one word: `clientCA` is `client-ca`.
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace(".", "-").lower()


def _flatten(tree: Mapping[str, Any], *, structured: frozenset[str], prefix: str = "") -> Iterable[tuple[str, str]]:
    if prefix.count(".") > _MAX_DEPTH:
        # An alias of YAML can make a map contain itself.
        raise ConfigurationError(f"The settings file has more than {_MAX_DEPTH} levels.")
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
) -> _Found:
    if (given := flags.get(setting.parameter)) is not None:
        return _Found(given, _Place.FLAG, f"flag {setting.flag}")
    for variable in setting.variables:
        if variable in environ:
            return _Found(environ[variable], _Place.ENVIRONMENT, f"environment variable {variable}")
    if setting.name in flat:
        return _Found(flat[setting.name], _Place.FILE, f"file {file_name}, {setting.name}")
    return _Found(setting.default, _Place.DEFAULT, f"default of {setting.flag}")
