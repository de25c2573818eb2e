"""Parts of commands: settings as options, checked arguments, files, and output as JSON, YAML and tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import click
import msgspec
import yaml
from rich.console import Console
from rich.text import Text

from webhook.errors import ConfigurationError
from webhook.runtime import parsers
from webhook.runtime.settings import Setting, Settings
from webhook.runtime.text import escaped

#: Width of what is written to a pipe or a file: no line is ever that long, so nothing is wrapped or cut off.
_PIPE_WIDTH: Final = 2**30

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class SettingsResolver(Protocol):
    """The object that `webhook.cli` gives to every command: it knows the settings of all features."""

    def resolve(self, flags: Mapping[str, str | None], *, config: Path | None) -> Settings:
        """Return the value of each setting."""

    def webhook_configurations(self, settings: Settings) -> Sequence[dict[str, Any]]:
        """Return the webhook configurations that the settings lead to.

        Raises:
            ConfigurationError: The settings do not say where the API server calls.
        """


def rendered_configurations(settings: Settings) -> Sequence[dict[str, Any]]:
    """Return the webhook configurations that the settings of a command lead to; none if they do not say enough."""
    resolver: SettingsResolver = click.get_current_context().obj
    try:
        return resolver.webhook_configurations(settings)
    except ConfigurationError:
        return ()


def settings_options(declared: Iterable[Setting[Any]]) -> Callable[[CommandT], CommandT]:
    """Return a decorator that adds an option for each setting, and `--config` for a settings file.

    The command gets the resolved values of all settings as its argument `settings`.
    """
    options = tuple(declared)

    def decorate(command: CommandT) -> CommandT:
        @functools.wraps(command)
        def resolve_and_call(*arguments: Any, config: Path | None, **parameters: Any) -> Any:
            flags = {setting.parameter: parameters.pop(setting.parameter) for setting in options}
            resolver: SettingsResolver = click.get_current_context().obj
            return command(*arguments, settings=resolver.resolve(flags, config=config), **parameters)

        decorated: Callable[..., Any] = resolve_and_call
        for setting in reversed(options):
            variables = ", ".join(setting.variables)
            shown = f" Default: {setting.default}." if setting.default else ""
            decorated = click.option(
                setting.flag,
                setting.parameter,
                default=None,
                metavar="VALUE",
                help=f"{setting.help}{shown} [{variables}]",
            )(decorated)
        decorated = click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            default=None,
            help="YAML file with settings; flags and environment variables take precedence.",
        )(decorated)
        return cast("CommandT", decorated)

    return decorate


class Checked(click.ParamType[str]):
    """An option whose text is checked by a parser of settings.

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
    """Return documents as one YAML stream."""
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True, width=1000)


def namespaced(text: str) -> tuple[str, str]:
    """Parse `NAMESPACE/NAME`.

    Raises:
        ConfigurationError: The text has another form.
    """
    namespace, separator, name = text.partition("/")
    try:
        if separator:
            return parsers.dns_label(namespace), parsers.object_name(name)
    except ValueError:
        pass
    raise ConfigurationError(f"{text!r} is not NAMESPACE/NAME, in lower case letters, digits and '-'.")


def read_file(path: Path) -> bytes:
    """Read a file given on the command line.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from None


def print_json(result: object) -> None:
    """Write a result (dataclasses, structs, lists) to standard output as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())


def console(*, stderr: bool = False) -> Console:
    """Return a console for tables and coloured text; in a pipe or a file each row is one line, with full names."""
    made = Console(highlight=False, soft_wrap=True, stderr=stderr)
    return (
        made if made.is_terminal else _PlainConsole(highlight=False, soft_wrap=True, stderr=stderr, width=_PIPE_WIDTH)
    )


def cell(text: str, style: str = "") -> Text:
    """Return the text of a cell of a table, with line ends and other control characters written as escapes."""
    return Text(escaped(text), style=style)


class _PlainConsole(Console):
    """Write lines without the blanks that would fill them up to the width of a table."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects as `Console.print` does."""
        with self.capture() as captured:
            super().print(*objects, **options)
        for line in captured.get().splitlines():
            self.file.write(line.rstrip() + "\n")
