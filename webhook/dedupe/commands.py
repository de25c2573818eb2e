"""`rollonce runs`: show which delivery has which run, compare the store with the cluster, and free deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import click
from prometheus_client import CollectorRegistry
from rich.table import Table
from rich.text import Text

from webhook.dedupe.core.identity import BUCKETS, DeliveryKey
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.report import DeliveryReport, RunReport, VerifyReport
from webhook.dedupe.runs_admin import RunFilter, RunsAdmin
from webhook.dedupe.settings import DEDUPE_NAMESPACES, REDIS_URL, RETENTION, DedupeSettings
from webhook.dedupe.wiring import Deduplication
from webhook.errors import ConfigurationError, RejectedError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime import log, options
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import console, namespaced, print_json, settings_options
from webhook.runtime.settings import Settings
from webhook.store.client import RedisClient

T = TypeVar("T")

_SETTINGS = settings_options((*options.KUBERNETES, REDIS_URL, RETENTION, DEDUPE_NAMESPACES, *options.LOGGING))
_OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
_NAMESPACE = click.option("-n", "--namespace", default="", help="Only this namespace.")
_REF = click.option("--ref", default="", help="Name of the orchestration (spec.orchestrationRef.name).")
_ID = click.option("--id", "delivery_id", default="", help="The deliveryId, byte for byte.")
_COLUMNS = ("NAMESPACE", "ORCHESTRATION", "DELIVERY", "RUN", "PHASE", "CREATED", "RECORD")


@click.group()
def runs() -> None:
    """Show which delivery has which run, and free deliveries."""


@runs.command("list")
@_NAMESPACE
@_REF
@_ID
@click.option("--run", "name", default="", help="Only the run of this name.")
@_OUTPUT
@_SETTINGS
def list_runs(*, namespace: str, ref: str, delivery_id: str, name: str, output: str, settings: Settings) -> None:
    """List stored runs with a deliveryId, each with the status of its record in the store."""
    run_filter = RunFilter(namespace, ref, delivery_id, name)
    reports = _run(lambda admin: admin.listing(run_filter), settings)
    if output == "json":
        print_json(reports)
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
    settings: Settings,
) -> None:
    """Show one delivery: its record and its stored runs.

    Give a run that is stored, or --namespace, --ref and --id, which also find a delivery whose run was deleted.
    """

    async def ask(admin: RunsAdmin) -> DeliveryReport:
        return await admin.show(await _key(admin, run, namespace, ref, delivery_id))

    report = _run(ask, settings)
    if output == "json":
        print_json(report)
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
    settings: Settings,
) -> None:
    """Free a delivery, so that its next create makes a run again.

    The run itself is not changed. Give a delivery as for `show`.
    """

    async def ask(admin: RunsAdmin) -> None:
        key = await _key(admin, run, namespace, ref, delivery_id)
        prepared = await admin.prepare_forget(key)
        if prepared is None:
            raise RejectedError(f"The store has no record of {_named(key)}: there is nothing to forget.")
        record, consequence = prepared
        click.echo(f"{_named(key).capitalize()} became the run {record.name} (uid {record.uid}).\n{consequence}")
        if not yes and not await asyncio.to_thread(click.confirm, "Forget it?"):
            raise RejectedError("Nothing was changed.")
        if not await admin.forget(key, record):
            raise RejectedError("Its record has changed meanwhile, so nothing was forgotten. Try again.")
        click.echo("Forgotten.")

    _run(ask, settings)


@runs.command()
@_NAMESPACE
@_REF
@_ID
@click.option("--fix", is_flag=True, help="Confirm the runs that have no confirmed record.")
@_OUTPUT
@_SETTINGS
def verify(
    *,
    namespace: str,
    ref: str,
    delivery_id: str,
    fix: bool,
    output: str,
    settings: Settings,
) -> int:
    """Compare the store with the stored runs, and print what --fix would mend.

    Ends with exit code 1 if something is left that is wrong.
    """
    run_filter = RunFilter(namespace, ref, delivery_id)
    report = _run(lambda admin: admin.verify(run_filter, fix=fix), settings)
    if output == "json":
        print_json(report)
    else:
        _print_verified(report)
    return 0 if report.healthy else 1


async def _key(admin: RunsAdmin, run: str | None, namespace: str, ref: str, delivery_id: str) -> DeliveryKey:
    if run and not (ref or delivery_id or namespace):
        key = await admin.find(*namespaced(run))
        if key is None:
            raise RejectedError(
                f"No run {run} with a deliveryId is stored. If it was deleted, name its delivery: "
                "--namespace, --ref and --id."
            )
        return key
    if run or not (namespace and delivery_id):
        raise ConfigurationError("Give either NAMESPACE/RUN, or --namespace, --ref and --id.")
    return DeliveryKey(namespace, ref, delivery_id)


def _run(ask: Callable[[RunsAdmin], Awaitable[T]], settings: Settings) -> T:
    logger = log.configure(settings[options.LOG_LEVEL], settings[options.LOG_FORMAT])
    # Only what the commands use: a contradiction between other settings must not end them.
    chosen = DedupeSettings(retention=settings[RETENTION], namespaces=settings[DEDUPE_NAMESPACES])

    async def main() -> T:
        configuration = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent="rollonce-runs")
        client = RedisClient(settings[REDIS_URL])
        metrics = DedupeMetrics(CollectorRegistry())
        try:
            return await ask(Deduplication(chosen, api, client, clock=Clock(), log=logger, metrics=metrics).admin)
        finally:
            await client.close()
            await api.close()

    return asyncio.run(main())


def _named(key: DeliveryKey) -> str:
    return f"delivery {key.delivery_id!r} of orchestration {key.ref!r} in namespace {key.namespace}"


def _print_runs(reports: Sequence[RunReport]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for report in reports:
        status = report.status
        text = f"{status.value}: {report.recorded_run}" if status.wrong and report.recorded_run else status.value
        cells = (report.namespace, report.orchestration, report.delivery_id, report.run, report.phase, report.created)
        table.add_row(*map(Text, cells), Text(text, style="red" if status.wrong else ""))
    console().print(table)


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
        click.echo(
            "A conflict is a second run of its delivery; an unreadable record is damaged or was written by a newer "
            "release. --fix mends neither."
        )
    if report.unsynced_buckets:
        click.echo(f"The servers are still rebuilding {report.unsynced_buckets} of {BUCKETS} buckets of the store.")
