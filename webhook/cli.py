"""The command line: `rollonce serve`, `rollonce controller`, and the commands of the features.

An expected failure is one line on standard error and an exit code: 2 if the command line or a setting is wrong, 1 for
everything else, 130 for Ctrl-C. A command is loaded when it is called, because the clients of Kubernetes and Redis take
half a second to load.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from webhook.app import Application
from webhook.errors import ConfigurationError, RollonceError
from webhook.feature import Command, Feature
from webhook.features import FEATURES
from webhook.runtime.log import origin_of

FAILURE_EXIT: Final = 1
USAGE_EXIT: Final = 2
INTERRUPT_EXIT: Final = 130

#: The commands that go through all features. Each module defines a function that returns the command.
COMMON: Final = (
    Command("serve", "webhook.commands.serve", "Serve admission reviews over TLS."),
    Command("controller", "webhook.commands.serve", "Roll workloads, confirm runs, rotate certificates."),
    Command("rbac", "webhook.commands.rbac", "Print the Roles for namespaces that are served."),
    Command("webhooks", "webhook.commands.webhooks", "Print the webhook configurations."),
)


class LazyGroup(click.Group):
    """A group that loads a command when it is called, and lists commands without loading them.

    Args:
        application: Given to the commands that go through all features.
        arguments: As of `click.Group`.
    """

    def __init__(self, application: Application, **arguments: Any) -> None:
        super().__init__(**arguments)
        own = (command for feature in application.features for command in feature.commands)
        self._application = application
        self._declared = {command.name: command for command in (*COMMON, *own)}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return list(self._declared)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Load a command."""
        declared = self._declared.get(cmd_name)
        if declared is None:
            return None
        found = getattr(importlib.import_module(declared.module), cmd_name)
        command = found if isinstance(found, click.Command) else found(self._application)
        assert isinstance(command, click.Command)  # noqa: S101 - a declaration that leads elsewhere is a defect
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(command.name, command.help) for command in self._declared.values()])


def command_line(application: Application) -> click.Group:
    """Return the root command with all commands of an application."""
    group = LazyGroup(
        application,
        name="rollonce",
        help="One rollout for each change of configuration, one run for each delivery.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    return click.version_option(package_name="rollonce", prog_name="rollonce")(group)


def main(arguments: list[str] | None = None, features: Sequence[Feature[Any]] = FEATURES) -> None:
    """Run the command line and exit.

    Args:
        arguments: Without the program's name; those of the process by default.
        features: What the commands go through.
    """
    # Without a handler, a signal does not end the first process of a container. The programs set their own.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(run(arguments, features))


def run(arguments: list[str] | None = None, features: Sequence[Feature[Any]] = FEATURES) -> int:
    """Run the command line and return its exit code."""
    application = Application(tuple(features))
    try:
        result = command_line(application).main(
            args=arguments, prog_name="rollonce", standalone_mode=False, obj=application
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPT_EXIT
    except BrokenPipeError:
        # The reader of the output has stopped; a second failure at the interpreter's exit would add nothing.
        sys.stderr.close()
        return FAILURE_EXIT
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback may reach a user
        return _fail(error)
    return result if isinstance(result, int) else 0


def _fail(error: Exception) -> int:
    """Write one line about an error, and return the exit code."""
    message = str(error)
    if not isinstance(error, RollonceError):
        message = f"internal error: {type(error).__name__} at {origin_of(error)}. Please report it."
    click.echo(f"rollonce: error: {message}", err=True)
    return USAGE_EXIT if isinstance(error, ConfigurationError) else FAILURE_EXIT
