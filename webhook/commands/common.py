"""What commands share: settings as options, names in two parts, files, and how results are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from webhook import values
from webhook.config import Setting
from webhook.errors import ConfigurationError

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def settings_options(settings: Iterable[Setting[Any]]) -> Callable[[CommandT], CommandT]:
    """Give a command an option for each setting, and `--config` for a file of them."""

    def decorate(command: CommandT) -> CommandT:
        for setting in reversed(tuple(settings)):
            variables = ", ".join(setting.variables)
            shown = f" Default: {setting.default}." if setting.default else ""
            command = click.option(
                setting.flag,
                setting.parameter,
                default=None,
                metavar="VALUE",
                help=f"{setting.help}{shown} [{variables}]",
            )(command)
        return click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            default=None,
            help="YAML file with settings; flags and environment variables go before it.",
        )(command)

    return decorate


class Checked(click.ParamType[str]):
    """An option's text that is checked by a parser of settings.

    Args:
        parse: Returns the value, or raises ValueError that says what is allowed.
    """

    name = "text"

    def __init__(self, parse: Callable[[str], str]) -> None:
        self._parse = parse

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text."""
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def dump(documents: Iterable[Mapping[str, Any]]) -> str:
    """Write documents as one YAML stream."""
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True, width=1000)


def namespaced(text: str) -> tuple[str, str]:
    """Read `NAMESPACE/NAME`.

    Raises:
        ConfigurationError: It is something else.
    """
    namespace, separator, name = text.partition("/")
    try:
        if separator:
            return values.dns_label(namespace), values.object_name(name)
    except ValueError:
        pass
    raise ConfigurationError(f"{text!r} is not NAMESPACE/NAME, in lower case letters, digits and '-'.")


def read_file(path: Path) -> bytes:
    """Read a file that was named on the command line.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from None
