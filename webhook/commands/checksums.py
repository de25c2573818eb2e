"""`rollonce checksums`: who is opted in, who is stale and why, and the two things that an operator writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from webhook import log, options
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.commands.common import settings_options
from webhook.config import Values
from webhook.errors import ConfigurationError, RollonceError
from webhook.hooks.checksums import ChecksumMetrics
from webhook.hooks.checksums import options as declared
from webhook.hooks.checksums.controller.stored import KINDS
from webhook.hooks.checksums.core.workload import WorkloadId
from webhook.hooks.checksums.inspection import Inspector, State, WorkloadReport
from webhook.hooks.checksums.sources import SourceReader
from webhook.programs.checksums import live_settings

T = TypeVar("T")

_PIPE_WIDTH: Final = 1000
_STYLES: Final = {State.CURRENT: "green", State.HELD: "yellow", State.STALE: "yellow"}
#: As kubectl lets people call the kinds.
_WORDS: Final = {
    **KINDS,
    **{kind.lower(): kind for kind in KINDS.values()},
    "deploy": "Deployment",
    "sts": "StatefulSet",
    "ds": "DaemonSet",
}

_SETTINGS = settings_options((*options.KUBERNETES, options.NAMESPACE, *declared.SHARED))
_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_NAMESPACE = click.option(
    "-n", "namespaces", multiple=True, metavar="NAMESPACE", help="Where; can be given several times."
)
_ALL = click.option("-A", "everywhere", is_flag=True, help="In all namespaces.")


@click.group()
def checksums() -> None:
    """Look at checksums of Secrets and ConfigMaps, and take them away."""


@checksums.command()
@_NAMESPACE
@_ALL
@_OUTPUT
@_SETTINGS
def status(
    *,
    namespaces: tuple[str, ...],
    everywhere: bool,
    output: str,
    config: Path | None,
    **flags: str | None,
) -> int:
    """Show who is opted in, and whether pod templates say what objects hold now.

    Ends with exit code 1 if one does not.
    """
    places = _places(namespaces, everywhere=everywhere)

    async def ask(inspector: Inspector) -> list[WorkloadReport]:
        return await inspector.look(await inspector.find(places))

    reports = _run(ask, options.resolve(flags, config=config))
    if output == "json":
        _print_json(reports)
    elif reports:
        _console().print(_table(reports))
    else:
        click.echo("No workload there is opted in.")
    return 0 if all(report.state is State.CURRENT for report in reports) else 1


@checksums.command()
@click.argument("workload", metavar="KIND/NAME")
@click.option("-n", "namespace", default="default", show_default=True, metavar="NAMESPACE", help="Where it lives.")
@_OUTPUT
@_SETTINGS
def explain(workload: str, namespace: str, output: str, config: Path | None, **flags: str | None) -> int:
    """Show what one workload depends on, and what would be written and why."""
    one = _workload(workload, namespace)
    report = _run(lambda inspector: inspector.report(one), options.resolve(flags, config=config))
    if report is None:
        raise RollonceError(f"{one} does not exist, or nothing of it says that it wants checksums.")
    if output == "json":
        _print_json(report)
        return 0
    console = _console()
    resumed = ", resumed past" if report.resumed else ""
    console.print(f"{escape(str(one))}: {_shown(report.state)}, its rollout is {report.rollout.value}{resumed}")
    for source in report.sources:
        how = ", provided" if source.provided else ""
        how += ", optional" if source.optional else ""
        how += f" ({source.why})" if source.why else ""
        console.print(f"  {escape(source.source)}: {_shown(source.state)}{escape(how)}, in {escape(source.key)}")
    for key in report.removed:
        console.print(f"  {escape(key)}: no longer wanted, to be removed")
    for note in report.notes:
        console.print(f"  {escape(note)}")
    return 0


@checksums.command()
@click.argument("workloads", nargs=-1, metavar="[KIND/NAME]...")
@_NAMESPACE
@_ALL
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_SETTINGS
def remove(
    *,
    workloads: tuple[str, ...],
    namespaces: tuple[str, ...],
    everywhere: bool,
    dry_run: bool,
    config: Path | None,
    **flags: str | None,
) -> None:
    """Take all checksums of ours from pod templates, for an uninstall; each workload rolls once.

    Without names, from all workloads of the namespaces given. Stop the controller and delete the webhook
    configurations first, or they write them again.
    """
    places = _places(namespaces, everywhere=everywhere)
    if workloads and len(places) != 1:
        raise ConfigurationError("Give the one namespace of these workloads by -n.")
    named = [_workload(text, places[0]) for text in workloads]

    async def ask(inspector: Inspector) -> int:
        count = 0
        for one in named or await inspector.find(places):
            if removed := await inspector.remove(one, dry_run=dry_run):
                count += 1
                click.echo(f"{one}: {'would lose' if dry_run else 'lost'} {', '.join(removed)}")
        return count

    count = _run(ask, options.resolve(flags, config=config))
    click.echo(f"{count} workloads {'would roll' if dry_run else 'roll'}.")


@checksums.command()
@click.argument("workload", metavar="KIND/NAME")
@click.option("-n", "namespace", default="default", show_default=True, metavar="NAMESPACE", help="Where it lives.")
@_SETTINGS
def resume(workload: str, namespace: str, config: Path | None, **flags: str | None) -> None:
    """Let those go on that a failed rollout keeps waiting; the failed one stays as it is."""
    one = _workload(workload, namespace)
    _run(lambda inspector: inspector.resume(one), options.resolve(flags, config=config))
    click.echo(f"{one}: others go on, until its next rollout.")


def _run(ask: Callable[[Inspector], Awaitable[T]], values: Values) -> T:
    async def main() -> T:
        configuration = await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent="rollonce-checksums")
        try:
            settings = (await live_settings(values, api, log.configure("warning", "console"))).current
            reader = SourceReader(settings, api, clock=time.monotonic, metrics=ChecksumMetrics(CollectorRegistry()))
            return await ask(Inspector(api, settings(), reader, clock=time.monotonic))
        finally:
            await api.close()

    return asyncio.run(main())


def _places(namespaces: tuple[str, ...], *, everywhere: bool) -> tuple[str, ...]:
    if bool(namespaces) == everywhere:
        raise ConfigurationError("Give either namespaces by -n, or -A for all.")
    return namespaces


def _workload(text: str, namespace: str) -> WorkloadId:
    word, slash, name = text.partition("/")
    kind = _WORDS.get(word.lower())
    if not slash or not name or kind is None:
        raise ConfigurationError(f"{text!r} is not KIND/NAME, such as deployment/web.")
    return WorkloadId(namespace, kind, name)


def _table(reports: list[WorkloadReport]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("NAMESPACE", "WORKLOAD", "STATE", "ROLLOUT", "NOT CURRENT"):
        table.add_column(heading, no_wrap=True)
    for report in reports:
        others = [f"{one.source} {one.state.value}" for one in report.sources if one.state is not State.CURRENT]
        others += [f"{key} to be removed" for key in report.removed]
        table.add_row(
            escape(report.namespace),
            escape(report.workload),
            _shown(report.state),
            report.rollout.value + (" (resumed)" if report.resumed else ""),
            escape(", ".join(others)),
        )
    return table


def _shown(state: State) -> str:
    style = _STYLES.get(state, "red")
    return f"[{style}]{state.value}[/]"


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        # Whoever reads a pipe wants a line to be a line.
        console.width = _PIPE_WIDTH
    return console


def _print_json(result: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
