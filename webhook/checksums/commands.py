"""`rollonce checksums`: which workloads are opted in, which are stale and why, and the two changes of an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import click
import msgspec
from prometheus_client import CollectorRegistry

from webhook.checksums.command_settings import CommandSettings, cluster_options
from webhook.checksums.controller.scope import Scope
from webhook.checksums.core.kinds import WorkloadId, kind_called
from webhook.checksums.core.rollout import Rollout
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.settings import ChecksumSettings
from webhook.checksums.sources import SourceReader
from webhook.checksums.workload_report import Explanation, State, WorkloadReport
from webhook.checksums.workloads_admin import WorkloadsAdmin
from webhook.errors import ConfigurationError, RejectedError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime import options
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import print_json

T = TypeVar("T")

_COLOURS: Final = {State.CURRENT: "green", State.HELD: "yellow", State.STALE: "yellow"}
_HEADINGS: Final = ("NAMESPACE", "WORKLOAD", "STATE", "ROLLOUT", "NOT CURRENT")

_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_NAMESPACE = click.option(
    "-n",
    "--namespace",
    default="default",
    show_default=True,
    metavar="NAMESPACE",
    help="The workload's namespace.",
)
_NAMESPACES = click.option(
    "-n",
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help="A namespace of workloads; can be given several times.",
)
_ALL = click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces.")


@click.group()
def checksums() -> None:
    """Show, explain and remove checksums of Secrets and ConfigMaps."""


@checksums.command()
@_NAMESPACES
@_ALL
@_OUTPUT
@cluster_options
def status(*, namespaces: tuple[str, ...], everywhere: bool, output: str, settings: CommandSettings) -> int:
    """Show which workloads are opted in, and whether their checksums are current.

    Without a namespace: those in `default`. The exit code is 1 if one is not current, or if its rollout has failed.
    """
    if namespaces and everywhere:
        raise ConfigurationError("Give either namespaces by -n, or -A for all.")
    places = namespaces or (() if everywhere else ("default",))

    async def ask(admin: WorkloadsAdmin) -> list[WorkloadReport]:
        return await admin.status(await admin.find(places))

    reports = _run(ask, settings)
    if output == "json":
        print_json(reports)
    elif reports:
        _print_table(reports)
    else:
        click.echo("No workload there is opted in.")
    return 0 if all(report.is_healthy for report in reports) else 1


@checksums.command()
@click.argument("workload", metavar="KIND/NAME")
@_NAMESPACE
@_OUTPUT
@cluster_options
def explain(*, workload: str, namespace: str, output: str, settings: CommandSettings) -> int:
    """Show what one workload depends on, and what would be written now and why.

    The exit code is 1 if it is not current, or if its rollout has failed.
    """
    workload_id = _workload_id(workload, namespace)
    explanation = _run(lambda admin: admin.explain(workload_id), settings)
    if explanation is None:
        raise RejectedError(f"{workload_id} does not exist, or nothing of it says that it wants checksums.")
    if output == "json":
        print_json({**msgspec.to_builtins(explanation.report), "patch": explanation.patch})
    else:
        _print_explanation(workload_id, explanation)
    return 0 if explanation.report.is_healthy else 1


@checksums.command()
@click.argument("workloads", nargs=-1, metavar="[KIND/NAME]...")
@_NAMESPACES
@_ALL
@click.option(
    "--unmanaged",
    is_flag=True,
    help="Remove instead the keys that look like those of rollonce, and that it neither wants nor manages.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@cluster_options
def remove(
    *,
    workloads: tuple[str, ...],
    namespaces: tuple[str, ...],
    everywhere: bool,
    unmanaged: bool,
    dry_run: bool,
    settings: CommandSettings,
) -> None:
    """Remove all checksums of rollonce from pod templates, for an uninstall; each workload rolls once.

    Without names, from all workloads of the namespaces given. Stop the controller and delete the webhook
    configurations first, or they write the checksums again.
    """
    if bool(namespaces) == everywhere:
        raise ConfigurationError("Give either namespaces by -n, or -A for all.")
    if workloads and len(namespaces) != 1:
        raise ConfigurationError("Give the one namespace of these workloads by -n.")
    named = [_workload_id(text, namespaces[0]) for text in workloads]

    async def ask(admin: WorkloadsAdmin) -> int:
        count = 0
        for workload_id in named or await admin.find(namespaces):
            if removed := await admin.remove(workload_id, unmanaged=unmanaged, dry_run=dry_run):
                count += 1
                click.echo(f"{workload_id}: {'would lose' if dry_run else 'lost'} {', '.join(removed)}")
        return count

    # What is wanted makes no difference to what rollonce has written, and at an uninstall nothing may say it any more.
    count = _run(ask, settings, informed=unmanaged)
    click.echo(f"{count} workloads {'would roll' if dry_run else 'roll'}.")


@checksums.command()
@click.argument("workload", metavar="KIND/NAME")
@_NAMESPACE
@cluster_options
def resume(*, workload: str, namespace: str, settings: CommandSettings) -> None:
    """Let other workloads roll that wait because the rollout of this one failed; this one is not changed."""
    workload_id = _workload_id(workload, namespace)
    _run(lambda admin: admin.resume(workload_id), settings)
    click.echo(f"{workload_id}: others go on, until its next rollout.")


def _run(ask: Callable[[WorkloadsAdmin], Awaitable[T]], settings: CommandSettings, *, informed: bool = True) -> T:
    """Ask a cluster.

    Args:
        ask: What to ask.
        settings: The settings that the command was called with.
        informed: Whether the settings of the programs are needed.
    """

    async def main() -> T:
        clock, local = Clock(), settings.local
        configuration = await load_configuration(local[options.KUBECONFIG], local[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent="rollonce-checksums")
        try:
            scope: Scope | None
            current, scope = ChecksumSettings(), None
            if informed:
                current, scope = await settings.of_programs(api, clock)
            reader = SourceReader(lambda: current, api, clock=clock, metrics=ChecksumMetrics(CollectorRegistry()))
            return await ask(WorkloadsAdmin(api, current, reader, scope=scope, clock=clock))
        finally:
            await api.close()

    return asyncio.run(main())


def _workload_id(text: str, namespace: str) -> WorkloadId:
    word, slash, name = text.partition("/")
    kind = kind_called(word)
    if not slash or not name or kind is None:
        raise ConfigurationError(f"{text!r} is not KIND/NAME, such as deployment/web.")
    return WorkloadId(namespace, kind, name)


def _print_table(reports: Sequence[WorkloadReport]) -> None:
    """Print one line for each workload, of any length: a terminal may wrap it, and a file must not."""
    rows = [_HEADINGS, *map(_row, reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    colours = [None, *(_COLOURS.get(report.state, "red") for report in reports)]
    for row, colour in zip(rows, colours, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[2] = click.style(cells[2], fg=colour) if colour else cells[2]
        click.echo("  ".join(cells).rstrip())


def _row(report: WorkloadReport) -> tuple[str, ...]:
    others = [f"{one.source} {one.state.value}" for one in report.sources if one.state is not State.CURRENT]
    others += [f"{key} to be removed" for key in report.removed]
    rollout = report.rollout.value + (" (resumed)" if report.resumed else "")
    return report.namespace, report.workload, report.state.value, rollout, ", ".join(others)


def _print_explanation(workload_id: WorkloadId, explanation: Explanation) -> None:
    report = explanation.report
    resumed = ", resumed past" if report.resumed else ""
    rollout = click.style(report.rollout.value, fg="red" if report.rollout is Rollout.FAILED else None)
    click.echo(f"{workload_id}: {_styled(report.state)}, its rollout is {rollout}{resumed}")
    for source in report.sources:
        how = ", provided" if source.provided else ""
        how += ", optional" if source.optional else ""
        how += f" ({source.why})" if source.why else ""
        click.echo(f"  {source.source}: {_styled(source.state)}{how}, in {source.key}")
    for key in report.removed:
        click.echo(f"  {key}: no longer wanted, to be removed")
    for note in report.notes:
        click.echo(f"  {note}")
    for operation in explanation.patch:
        click.echo(f"  patch: {msgspec.json.encode(operation).decode()}")


def _styled(state: State) -> str:
    return click.style(state.value, fg=_COLOURS.get(state, "red"))
