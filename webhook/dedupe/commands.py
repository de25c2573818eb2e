"""`rollonce runs`: show which delivery has which run, compare the store with the cluster, and free deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from prometheus_client import CollectorRegistry

from webhook.dedupe import command_options as opts
from webhook.dedupe.core.evidence import RecordFilter
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.missing_runs import FoundRecords
from webhook.dedupe.report import DeliveryReport
from webhook.dedupe.runs_admin import RunFilter, RunsAdmin
from webhook.dedupe.settings import DEDUPE_NAMESPACES, RECORD_FORMAT, REDIS_URL, RETENTION, DedupeSettings
from webhook.dedupe.tables import SHOWN, named, print_delivery, print_missing, print_runs, print_verified
from webhook.dedupe.wiring import Records
from webhook.errors import ConfigurationError, RejectedError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.runtime import log, options
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import namespaced, print_json
from webhook.runtime.settings import Settings
from webhook.store.client import RedisClient

T = TypeVar("T")


@click.group()
def runs() -> None:
    """Show which delivery has which run, and free deliveries."""


@runs.command("list")
@opts.NAMESPACE
@opts.ALL
@opts.REF
@opts.ID
@click.option("--run", "name", default="", help="Only the run of this name.")
@opts.OUTPUT
@opts.SETTINGS
def list_runs(
    *,
    namespace: str | None,
    everywhere: bool,
    ref: str | None,
    delivery_id: str,
    name: str,
    output: str,
    settings: Settings,
) -> int:
    """List stored runs with a deliveryId, each with the status of its record in the store.

    The exit code is 1 if a record is not as it should be.
    """
    run_filter = RunFilter(_place(namespace, everywhere=everywhere), ref, delivery_id, name)
    reports = _run(lambda admin: admin.listing(run_filter), settings)
    if output == "json":
        print_json(reports)
    elif reports:
        print_runs(reports)
    else:
        click.echo("No stored run fits. A run that was deleted is found by: rollonce runs show -n … --ref … --id …")
    return int(any(report.status.wrong for report in reports))


@runs.command()
@click.argument("run", required=False, metavar="[NAMESPACE/RUN]")
@opts.NAMESPACE
@opts.REF
@opts.ID
@opts.OUTPUT
@opts.SETTINGS
def show(
    *,
    run: str | None,
    namespace: str | None,
    ref: str | None,
    delivery_id: str,
    output: str,
    settings: Settings,
) -> int:
    """Show one delivery: its record and its stored runs.

    Give a run that is stored, or --namespace and --id. With --ref, a delivery whose run was deleted is found too. The
    exit code is 1 if the record is not as it should be.
    """
    _require_delivery(run, namespace, ref, delivery_id)

    async def ask(admin: RunsAdmin) -> DeliveryReport:
        return await admin.show(await _key(admin, run, namespace, ref, delivery_id, listed=output == "table"))

    report = _run(ask, settings)
    if output == "json":
        print_json(report)
    else:
        print_delivery(report)
    return int(any(stored.status.wrong for stored in report.runs))


@runs.command()
@click.argument("run", required=False, metavar="[NAMESPACE/RUN]")
@opts.NAMESPACE
@opts.ALL
@opts.REF
@opts.ID
@click.option("--missing", is_flag=True, help="Free the deliveries whose runs are not stored any more.")
@click.option(
    "--created-after", type=opts.Moment(), metavar="TIME", help="With --missing: only runs created since then."
)
@click.option("--run", "pattern", default="", metavar="GLOB", help="With --missing: only runs of such a name.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@opts.SETTINGS
def forget(
    *,
    run: str | None,
    namespace: str | None,
    everywhere: bool,
    ref: str | None,
    delivery_id: str,
    missing: bool,
    created_after: float | None,
    pattern: str,
    yes: bool,
    settings: Settings,
) -> None:
    """Free a delivery, so that its next create makes a run again.

    The run itself is not changed. Give a delivery as for `show`. Or give --missing after a restore, to free the
    deliveries whose runs the restore has lost; --created-after, --namespace and --run choose them.
    """
    place = _place(namespace, everywhere=everywhere)
    if missing:
        if run or ref is not None or delivery_id:
            raise ConfigurationError("--missing finds deliveries itself: choose by -n, --created-after and --run.")
        if not (place or created_after or pattern):
            raise ConfigurationError(
                "--missing alone would free every delivery whose run was ever deleted. Give --created-after TIME, with "
                "the time of the backup that was restored, or -n NAMESPACE, or --run GLOB."
            )
        chosen = RecordFilter((place,) if place else (), created_after or 0.0, pattern)
        _run(lambda admin: _forget_missing(admin, chosen, yes=yes), settings)
    elif everywhere or created_after is not None or pattern:
        raise ConfigurationError("-A, --created-after and --run go with --missing.")
    else:
        _require_delivery(run, namespace, ref, delivery_id)
        _run(lambda admin: _forget(admin, run, namespace, ref, delivery_id, yes=yes), settings)


@runs.command()
@opts.NAMESPACE
@opts.ALL
@opts.REF
@opts.ID
@click.option("--fix", is_flag=True, help="Confirm the runs that have no confirmed record.")
@opts.OUTPUT
@opts.SETTINGS
def verify(
    *,
    namespace: str | None,
    everywhere: bool,
    ref: str | None,
    delivery_id: str,
    fix: bool,
    output: str,
    settings: Settings,
) -> int:
    """Compare the store with the stored runs, and print what --fix would mend.

    Ends with exit code 1 if something is left that is wrong. Records whose run is not stored any more are named too,
    unless --ref or --id is given; they are not wrong by themselves.
    """
    run_filter = RunFilter(_place(namespace, everywhere=everywhere), ref, delivery_id)
    most = None if output == "json" else SHOWN
    report = _run(lambda admin: admin.verify(run_filter, fix=fix, most_missing=most), settings)
    if output == "json":
        print_json(report)
    else:
        print_verified(report)
    return 0 if report.healthy else 1


async def _forget(
    admin: RunsAdmin, run: str | None, namespace: str | None, ref: str | None, delivery_id: str, *, yes: bool
) -> None:
    key = await _key(admin, run, namespace, ref, delivery_id)
    prepared = await admin.prepare_forget(key)
    if prepared is None:
        raise RejectedError(f"The store has no record of {named(key)}: there is nothing to forget.")
    record, consequence = prepared
    click.echo(f"{named(key).capitalize()} became the run {record.name} (uid {record.uid}).\n{consequence}")
    await _confirm("Forget it?", yes=yes)
    if not await admin.forget(key, record):
        raise RejectedError("Its record has changed meanwhile, so nothing was forgotten. Try again.")
    click.echo("Forgotten.")


async def _forget_missing(admin: RunsAdmin, chosen: RecordFilter, *, yes: bool) -> None:
    found = FoundRecords()
    report = await admin.missing.report(chosen, most=SHOWN, found=found)
    click.echo(f"Missing runs that fit: {report.count}.")
    print_missing(report)
    if not found:
        return
    click.echo(
        "If they are freed, the next create of each delivery makes a run again, also where the run was deleted on "
        "purpose after it had done its work. Narrow them by --created-after, -n and --run."
    )
    await _confirm(f"Free {report.count}?", yes=yes)
    freed = await admin.missing.free(found, chosen)
    click.echo(f"Freed: {freed}.")
    if freed < len(found):
        click.echo(f"Not freed, because the record or the run has changed meanwhile: {len(found) - freed}.")


async def _confirm(question: str, *, yes: bool) -> None:
    if not yes and not await asyncio.to_thread(click.confirm, question):
        raise RejectedError("Nothing was changed.")


def _place(namespace: str | None, *, everywhere: bool) -> str:
    if namespace and everywhere:
        raise ConfigurationError("Give either a namespace by -n, or -A for all.")
    return namespace or ""


def _require_delivery(run: str | None, namespace: str | None, ref: str | None, delivery_id: str) -> None:
    """Check that the arguments name a delivery in one of the two ways."""
    if run and not (delivery_id or namespace) and ref is None:
        namespaced(run)
    elif run or not (namespace and delivery_id):
        raise ConfigurationError("Give either NAMESPACE/RUN, or --namespace and --id, and --ref if that is known.")


async def _key(
    admin: RunsAdmin, run: str | None, namespace: str | None, ref: str | None, delivery_id: str, *, listed: bool = True
) -> DeliveryKey:
    """Return the delivery that the arguments name.

    Args:
        admin: Finds it.
        run: `NAMESPACE/RUN`.
        namespace: With `delivery_id`, in place of `run`.
        ref: The orchestration; None to look for it.
        delivery_id: With `namespace`.
        listed: Whether to print what fits, if that is more than one delivery.

    Raises:
        RejectedError: None fits, or several do.
    """
    if run:
        key = await admin.find(*namespaced(run))
        if key is None:
            raise RejectedError(
                f"No run {run} with a deliveryId is stored. If it was deleted, name its delivery: "
                "--namespace, --ref and --id."
            )
        return key
    namespace = namespace or ""
    if ref is not None:
        return DeliveryKey(namespace, ref, delivery_id)
    fitting = await admin.find_by_id(namespace, delivery_id)
    if not fitting:
        raise RejectedError(
            f"No run of delivery {delivery_id!r} is stored in namespace {namespace}. If it was deleted, name its "
            "orchestration by --ref ('' if it had none)."
        )
    if len(fitting) > 1:
        if listed:
            print_runs(await admin.listing(RunFilter(namespace, delivery_id=delivery_id)))
        refs = ", ".join(repr(key.ref) for key in fitting)
        raise RejectedError(f"Several orchestrations have delivery {delivery_id!r}. Choose one by --ref: {refs}.")
    return fitting[0]


def _run(ask: Callable[[RunsAdmin], Awaitable[T]], settings: Settings) -> T:
    logger = log.configure(settings[options.LOG_LEVEL], settings[options.LOG_FORMAT])
    # Only what the commands use: a contradiction between other settings must not end them.
    chosen = DedupeSettings(
        retention=settings[RETENTION], record_format=settings[RECORD_FORMAT], namespaces=settings[DEDUPE_NAMESPACES]
    )

    async def main() -> T:
        configuration = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT])
        api = KubernetesClient(configuration, user_agent="rollonce-runs")
        client = RedisClient(settings[REDIS_URL])
        metrics = DedupeMetrics(CollectorRegistry())
        try:
            return await ask(Records(chosen, api, client, clock=Clock(), log=logger, metrics=metrics).admin)
        finally:
            await client.close()
            await api.close()

    return asyncio.run(main())
