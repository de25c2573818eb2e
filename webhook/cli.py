"""The command line: `rollonce serve`, and what people and scripts ask.

What goes wrong on purpose ends as one line on standard error and an exit code: 2 where the command line or a setting is
wrong, 1 for everything else, 130 for Ctrl-C.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from webhook import options
from webhook.admission import registration
from webhook.config import Setting
from webhook.errors import ConfigurationError, RollonceError

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

USAGE_EXIT = 2
FAILURE_EXIT = 1
INTERRUPT_EXIT = 130


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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rollonce", prog_name="rollonce")
def cli() -> None:
    """One rollout for each change of configuration, one run for each delivery."""


@cli.command()
@settings_options(options.SERVE)
def serve(config: Path | None, **flags: str | None) -> None:
    """Serve admission reviews over TLS.

    The server needs no leader: run two or more. It ends on SIGTERM after having drained, and at once on a second one.
    """
    values = options.resolve(flags, config=config)
    # Imported here, since the Kubernetes client alone takes a quarter of a second.
    from webhook.app import run_server  # noqa: PLC0415

    run_server(values)


@cli.command("webhooks")
@click.option("--service", metavar="NAMESPACE/NAME", default="", help="The Service that the API server is to call.")
@click.option("--url", metavar="URL", default="", help="Instead of a Service: https://host:port of a server outside.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="PEM bundle that the server's certificate chains to; by default it is left to be injected.",
)
@click.option("--name", default="rollonce", show_default=True, help="Name of the configurations.")
@click.option(
    "--controller", metavar="NAMESPACE/NAME", default="", help="ServiceAccount whose own writes are not sent."
)
def webhooks(service: str, url: str, ca_file: Path | None, name: str, controller: str) -> None:
    """Print the webhook configurations, for `kubectl apply -f -`."""
    if bool(service) == bool(url):
        raise ConfigurationError("Give either --service NAMESPACE/NAME or --url https://host:port.")
    from webhook.app import registrations  # noqa: PLC0415 - see serve

    deployment = registration.Deployment(
        endpoint=registration.UrlEndpoint(url) if url else registration.ServiceEndpoint(*_namespaced(service)),
        ca_bundle=base64.b64encode(_read(ca_file)).decode() if ca_file else "",
        configuration_name=name,
    )
    account = "system:serviceaccount:{}:{}".format(*_namespaced(controller)) if controller else ""
    documents = registration.configurations(registrations(controller=account), deployment)
    click.echo(dump(documents), nl=False)


def dump(documents: Iterable[Mapping[str, Any]]) -> str:
    """Write documents as one YAML stream."""
    return yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True, width=1000)


def _namespaced(text: str) -> tuple[str, str]:
    namespace, separator, name = text.partition("/")
    if not separator or not namespace or not name:
        raise ConfigurationError(f"{text!r} is not NAMESPACE/NAME.")
    return namespace, name


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from None


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
