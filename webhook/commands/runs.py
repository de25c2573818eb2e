"""`rollonce runs`: which delivery became which run, whether the store agrees, and freeing a delivery."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table
from rich.text import Text

from webhook import log, options
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.clients.redis import RedisClient
from webhook.commands.common import namespaced, settings_options
from webhook.config import Values
from webhook.errors import ConfigurationError, RollonceError
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.core.key import DeliveryKey
from webhook.hooks.dedupe.metrics import DedupeMetrics
from webhook.hooks.dedupe.operator import RunOperator, Wanted
from webhook.hooks.dedupe.report import DeliveryReport, RunReport, VerifyReport
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.settings import DedupeSettings
from webhook.hooks.dedupe.store import Store

T = TypeVar("T")

_SETTINGS = settings_options(
    (*options.KUBERNETES, options.REDIS_URL, options.RETENTION, options.DEDUPE_NAMESPACES, *options.LOGGING)
)
_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_NAMESPACE = click.option("-n", "--namespace", default="", help="Only this namespace.")
_REF = click.option("--ref", default="", help="Name of the orchestration (spec.orchestrationRef.name).")
_ID = click.option("--id", "delivery_id", default="", help="The deliveryId, byte for byte.")
_COLUMNS = ("NAMESPACE", "ORCHESTRATION", "DELIVERY", "RUN", "PHASE", "CREATED", "RECORD")


@click.group()
def runs() -> None:
    """Ask which delivery became which run, and free deliveries."""


@runs.command("list")
@_NAMESPACE
@_REF
@_ID
@click.option("--run", "name", default="", help="Only the run of this name.")
@_OUTPUT
@_SETTINGS
def list_runs(
    *, namespace: str, ref: str, delivery_id: str, name: str, output: str, config: Path | None, **flags: str | None
) -> None:
    """List stored runs with a deliveryId, each with what the store remembers of it."""
    wanted = Wanted(namespace, ref, delivery_id, name)

    async def ask(operator: RunOperator) -> list[RunReport]:
        return [report async for report in operator.listing(wanted)]

    reports = _run(ask, options.resolve(flags, config=config))
    if output == "json":
        _print_json(reports)
    elif reports:
        _print_runs(reports)
    else:
        click.echo("No stored run fits. A run that was deleted is found by: rollonce runs show -n … --ref … --id …")


@runs.command()
@click.argument("run", required=False, metavar="[NAMESPACE/RUN]")
@_NAMESPACE
@_REF
@_ID
@_OUTPUT
@_SETTINGS
def show(
    *,
    run: str | None,
    namespace: str,
    ref: str,
    delivery_id: str,
    output: str,
    config: Path | None,
    **flags: str | None,
) -> None:
    """Show one delivery: its record and its stored runs.

    It is given by a run that is stored, or by --namespace, --ref and --id, which also finds what has been deleted.
    """

    async def ask(operator: RunOperator) -> DeliveryReport:
        return await operator.show(await _key(operator, run, namespace, ref, delivery_id))

    report = _run(ask, options.resolve(flags, config=config))
    if output == "json":
        _print_json(report)
    else:
        _print_delivery(report)


@runs.command()
@click.argument("run", required=False, metavar="[NAMESPACE/RUN]")
@_NAMESPACE
@_REF
@_ID
@click.option("--yes", is_flag=True, help="Do not ask.")
@_SETTINGS
def forget(
    *,
    run: str | None,
    namespace: str,
    ref: str,
    delivery_id: str,
    yes: bool,
    config: Path | None,
    **flags: str | None,
) -> None:
    """Free a delivery, so that its next create makes a run again.

    The run itself is left alone. A delivery is given as to `show`.
    """

    async def ask(operator: RunOperator) -> None:
        key = await _key(operator, run, namespace, ref, delivery_id)
        prepared = await operator.prepare_forget(key)
        if prepared is None:
            raise RollonceError(f"Nothing is remembered of {_named(key)}: there is nothing to forget.")
        record, consequence = prepared
        click.echo(f"{_named(key).capitalize()} became the run {record.name} (uid {record.uid}).\n{consequence}")
        if not yes and not await asyncio.to_thread(click.confirm, "Forget it?"):
            raise RollonceError("Nothing was changed.")
        if not await operator.forget(key, record):
            raise RollonceError("Its record has changed meanwhile, so nothing was forgotten. Look again.")
        click.echo("Forgotten.")

    _run(ask, options.resolve(flags, config=config))


@runs.command()
@_NAMESPACE
@_REF
@_ID
@click.option("--fix", is_flag=True, help="Confirm the runs that the store does not know of.")
@_OUTPUT
@_SETTINGS
def verify(
    *,
    namespace: str,
    ref: str,
    delivery_id: str,
    fix: bool,
    output: str,
    config: Path | None,
    **flags: str | None,
) -> int:
    """Compare the store with the stored runs, and say what --fix would mend.

    Ends with exit code 1 if something is left that is wrong.
    """

    async def ask(operator: RunOperator) -> VerifyReport:
        return await operator.verify(Wanted(namespace, ref, delivery_id), fix=fix)

    report = _run(ask, options.resolve(flags, config=config))
    if output == "json":
        _print_json(report)
    else:
        _print_verified(report)
    return 0 if report.healthy else 1


async def _key(operator: RunOperator, run: str | None, namespace: str, ref: str, delivery_id: str) -> DeliveryKey:
    if run and not (ref or delivery_id or namespace):
        key = await operator.find(*namespaced(run))
        if key is None:
            raise RollonceError(
                f"No run {run} with a deliveryId is stored. If it was deleted, name its delivery: "
                "--namespace, --ref and --id."
            )
        return key
    if run or not (namespace and delivery_id):
        raise ConfigurationError("Give either NAMESPACE/RUN, or --namespace, --ref and --id.")
    return DeliveryKey(namespace, ref, delivery_id)


def _run(ask: Callable[[RunOperator], Awaitable[T]], values: Values) -> T:
    logger = log.configure(values[options.LOG_LEVEL], values[options.LOG_FORMAT])
    settings = DedupeSettings(retention=values[options.RETENTION], namespaces=values[options.DEDUPE_NAMESPACES])

    async def main() -> T:
        configuration = await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent="rollonce-runs")
        client = RedisClient(values[options.REDIS_URL])
        store = Store(client)
        try:
            operator = RunOperator(
                store,
                Runs(api, settings.resource),
                Confirmer(store, settings, time.time, DedupeMetrics(CollectorRegistry())),
                settings,
                clock=time.time,
                monotonic=time.monotonic,
                log=logger,
            )
            return await ask(operator)
        finally:
            await client.close()
            await api.close()

    return asyncio.run(main())


def _named(key: DeliveryKey) -> str:
    return f"delivery {key.delivery_id!r} of orchestration {key.ref!r} in namespace {key.namespace}"


def _print_json(report: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())


def _print_runs(reports: Sequence[RunReport]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for report in reports:
        standing = report.standing
        how = f"{standing.value}: {report.recorded_run}" if standing.wrong and report.recorded_run else standing.value
        cells = (report.namespace, report.orchestration, report.delivery_id, report.run, report.phase, report.created)
        table.add_row(*map(Text, cells), Text(how, style="red" if standing.wrong else ""))
    _console().print(table)


def _print_delivery(report: DeliveryReport) -> None:
    key = DeliveryKey(report.namespace, report.orchestration, report.delivery_id)
    click.echo(_named(key).capitalize())
    record = report.record
    if record is None:
        click.echo("Record: none")
    else:
        click.echo(
            f"Record: {record.state}, run {record.run}, uid {record.uid}, last phase {record.phase or 'unknown'}"
        )
        click.echo(f"  reserved {record.reserved or 'at an unknown time'}, expires {record.expires or 'never'}")
    if report.runs:
        _print_runs(report.runs)
    else:
        click.echo("Stored runs: none")


def _print_verified(report: VerifyReport) -> None:
    if report.findings:
        _print_runs([finding.run for finding in report.findings])
    mendable = sum(finding.mendable for finding in report.findings)
    mended = sum(finding.mended for finding in report.findings)
    click.echo(f"Runs checked: {report.checked}. Not as they should be: {len(report.findings)}.")
    if mended:
        click.echo(f"Mended: {mended}.")
    elif mendable:
        click.echo(f"--fix would mend {mendable}; the controller does so too.")
    if len(report.findings) > mendable:
        click.echo("A twin is a second run of its delivery, an unreadable record is of a newer release: both need you.")
    if report.doubted_buckets:
        click.echo(f"The servers are still rebuilding {report.doubted_buckets} of 64 parts of the store.")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
