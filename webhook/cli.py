"""The command line: `rollonce serve`, and what people and scripts ask.

What goes wrong on purpose ends as one line on standard error and an exit code: 2 where the command line or a setting is
wrong, 1 for everything else, 130 for Ctrl-C. A command is loaded when it is called, since the clients of
Kubernetes and Redis alone take half a second.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Final

import click

from webhook.errors import ConfigurationError, RollonceError

FAILURE_EXIT: Final = 1
USAGE_EXIT: Final = 2
INTERRUPT_EXIT: Final = 130


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that has not been loaded.

    Attributes:
        module: Where it is, below `webhook.commands`; the command has the name that it is called by there.
        help: Its line in the list of commands.
    """

    module: str
    help: str


COMMANDS: Final = {
    "serve": Entry("serve", "Serve admission reviews over TLS."),
    "controller": Entry("controller", "Roll workloads, confirm runs, rotate certificates."),
    "certs": Entry("certs", "Look at certificates, and have them replaced."),
    "checksums": Entry("checksums", "Ask who is opted in and stale; stop using checksums."),
    "render": Entry("render", "Put checksums into the manifests on standard input."),
    "runs": Entry("runs", "Ask which delivery became which run, and free deliveries."),
    "rbac": Entry("rbac", "Print the Roles for what is served."),
    "webhooks": Entry("webhooks", "Print the webhook configurations."),
}


class LazyGroup(click.Group):
    """A group that loads a command when it is called, and lists commands without loading them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order in which they are declared."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Load a command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"webhook.commands.{entry.module}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - a name in the table above that leads elsewhere
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rollonce", prog_name="rollonce")
def cli() -> None:
    """One rollout for each change of configuration, one run for each delivery."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Without the program's name; by default the process's own.
    """
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        result = cli.main(args=arguments, prog_name="rollonce", standalone_mode=False)
    except ConfigurationError as error:
        return _fail(str(error), USAGE_EXIT)
    except RollonceError as error:
        return _fail(str(error), FAILURE_EXIT)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPT_EXIT
    except BrokenPipeError:
        # Whoever read our output has enough; a second failure at the interpreter's exit would say nothing new.
        sys.stderr.close()
        return FAILURE_EXIT
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    click.echo(f"rollonce: error: {message}", err=True)
    return code
