"""`rollonce checksums`: which workloads are opted in, which are stale and why, and the two changes of an operator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import click
import msgspec
from prometheus_client import CollectorRegistry
from rich.markup import escape
from rich.table import Table

from webhook.checksums.core.kinds import WorkloadId, kind_called
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.settings import SHARED, live_settings
from webhook.checksums.sources import SourceReader
from webhook.checksums.workloads_admin import Explanation, State, WorkloadReport, WorkloadsAdmin
from webhook.errors import ConfigurationError, RejectedError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime import log, options
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import console, print_json, settings_options
from webhook.runtime.settings import Settings

T = TypeVar("T")

_STYLES: Final = {State.CURRENT: "green", State.HELD: "yellow", State.STALE: "yellow"}

_SETTINGS = settings_options((*options.KUBERNETES, options.NAMESPACE, *SHARED))
_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
# Not named `namespace`, which is the parameter of the setting for the namespace of this installation.
_NAMESPACE = click.option(
    "-n", "where", default="default", show_default=True, metavar="NAMESPACE", help="The workload's namespace."
)
_NAMESPACES = click.option(
    "-n", "namespaces", multiple=True, metavar="NAMESPACE", help="A namespace; can be given several times."
)
_ALL = click.option("-A", "everywhere", is_flag=True, help="In all namespaces.")


@click.group()
def checksums() -> None:
    """Show, explain and remove checksums of Secrets and ConfigMaps."""


@checksums.command()
@_NAMESPACES
@_ALL
@_OUTPUT
@_SETTINGS
def status(*, namespaces: tuple[str, ...], everywhere: bool, output: str, settings: Settings) -> int:
    """Show which workloads are opted in, and whether their checksums are current.

    The exit code is 1 if one is not.
    """
    places = _places(namespaces, everywhere=everywhere)

    async def ask(admin: WorkloadsAdmin) -> list[WorkloadReport]:
        return await admin.status(await admin.find(places))

    reports = _run(ask, settings)
    if output == "json":
        print_json(reports)
    elif reports:
        console().print(_table(reports))
    else:
        click.echo("No workload there is opted in.")
    return 0 if all(report.state is State.CURRENT for report in reports) else 1


@checksums.command()
@click.argument("workload", metavar="KIND/NAME")
@_NAMESPACE
@_OUTPUT
@_SETTINGS
def explain(*, workload: str, where: str, output: str, settings: Settings) -> int:
    """Show what one workload depends on, and what would be written now and why."""
    workload_id = _workload_id(workload, where)
    explanation = _run(lambda admin: admin.explain(workload_id), settings)
    if explanation is None:
        raise RejectedError(f"{workload_id} does not exist, or nothing of it says that it wants checksums.")
    if output == "json":
        print_json({**msgspec.to_builtins(explanation.report), "patch": explanation.patch})
    else:
        _print_explanation(workload_id, explanation)
    return 0


@checksums.command()
@click.argument("workloads", nargs=-1, metavar="[KIND/NAME]...")
@_NAMESPACES
@_ALL
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@_SETTINGS
def remove(
    *,
    workloads: tuple[str, ...],
    namespaces: tuple[str, ...],
    everywhere: bool,
    dry_run: bool,
    settings: Settings,
) -> None:
    """Remove all checksums of rollonce from pod templates, for an uninstall; each workload rolls once.

    Without names, from all workloads of the namespaces given. Stop the controller and delete the webhook
    configurations first, or they write the checksums again.
    """
    places = _places(namespaces, everywhere=everywhere)
    if workloads and len(places) != 1:
        raise ConfigurationError("Give the one namespace of these workloads by -n.")
    named = [_workload_id(text, places[0]) for text in workloads]

    async def ask(admin: WorkloadsAdmin) -> int:
        count = 0
        for workload_id in named or await admin.find(places):
            if removed := await admin.remove(workload_id, dry_run=dry_run):
                count += 1
                click.echo(f"{workload_id}: {'would lose' if dry_run else 'lost'} {', '.join(removed)}")
        return count

    count = _run(ask, settings)
    click.echo(f"{count} workloads {'would roll' if dry_run else 'roll'}.")


@checksums.command()
@click.argument("workload", metavar="KIND/NAME")
@_NAMESPACE
@_SETTINGS
def resume(*, workload: str, where: str, settings: Settings) -> None:
    """Let other workloads roll that wait because the rollout of this one failed; this one is not changed."""
    workload_id = _workload_id(workload, where)
    _run(lambda admin: admin.resume(workload_id), settings)
    click.echo(f"{workload_id}: others go on, until its next rollout.")


def _run(ask: Callable[[WorkloadsAdmin], Awaitable[T]], settings: Settings) -> T:
    async def main() -> T:
        clock = Clock()
        configuration = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent="rollonce-checksums")
        try:
            live = await live_settings(settings, api, clock=clock, log=log.configure("warning", "console"))
            reader = SourceReader(live.current, api, clock=clock, metrics=ChecksumMetrics(CollectorRegistry()))
            return await ask(WorkloadsAdmin(api, live.current(), reader, clock=clock))
        finally:
            await api.close()

    return asyncio.run(main())


def _places(namespaces: tuple[str, ...], *, everywhere: bool) -> tuple[str, ...]:
    if bool(namespaces) == everywhere:
        raise ConfigurationError("Give either namespaces by -n, or -A for all.")
    return namespaces


def _workload_id(text: str, namespace: str) -> WorkloadId:
    word, slash, name = text.partition("/")
    kind = kind_called(word)
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
            _styled(report.state),
            report.rollout.value + (" (resumed)" if report.resumed else ""),
            escape(", ".join(others)),
        )
    return table


def _print_explanation(workload_id: WorkloadId, explanation: Explanation) -> None:
    report, out = explanation.report, console()
    resumed = ", resumed past" if report.resumed else ""
    out.print(f"{escape(str(workload_id))}: {_styled(report.state)}, its rollout is {report.rollout.value}{resumed}")
    for source in report.sources:
        how = ", provided" if source.provided else ""
        how += ", optional" if source.optional else ""
        how += f" ({source.why})" if source.why else ""
        out.print(f"  {escape(source.source)}: {_styled(source.state)}{escape(how)}, in {escape(source.key)}")
    for key in report.removed:
        out.print(f"  {escape(key)}: no longer wanted, to be removed")
    for note in report.notes:
        out.print(f"  {escape(note)}")
    for operation in explanation.patch:
        out.print(f"  patch: {escape(msgspec.json.encode(operation).decode())}")


def _styled(state: State) -> str:
    style = _STYLES.get(state, "red")
    return f"[{style}]{state.value}[/]"
