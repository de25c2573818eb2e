"""The output of `rollonce runs` as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
from rich.table import Table

from webhook.dedupe.core.identity import BUCKETS, DeliveryKey
from webhook.dedupe.report import DeliveryReport, MissingReport, RunReport, VerifyReport
from webhook.runtime.command_line import cell, console

#: How many records without runs a table shows.
SHOWN: Final = 20
_RUNS: Final = ("NAMESPACE", "ORCHESTRATION", "DELIVERY", "RUN", "PHASE", "CREATED", "RECORD")
_MISSING: Final = ("NAMESPACE", "RUN", "CREATED", "LAST PHASE")


def named(key: DeliveryKey) -> str:
    """Return what a delivery is called in sentences."""
    return f"delivery {key.delivery_id!r} of orchestration {key.ref!r} in namespace {key.namespace}"


def print_runs(reports: Sequence[RunReport]) -> None:
    """Print a table of stored runs."""
    table = _table(_RUNS)
    for report in reports:
        status = report.status
        text = f"{status.value}: {report.recorded_run}" if status.wrong and report.recorded_run else status.value
        cells = (report.namespace, report.orchestration, report.delivery_id, report.run, report.phase, report.created)
        table.add_row(*map(cell, cells), cell(text, "red" if status.wrong else ""))
    console().print(table)


def print_delivery(report: DeliveryReport) -> None:
    """Print what is known about one delivery."""
    key = DeliveryKey(report.namespace, report.orchestration, report.delivery_id)
    click.echo(named(key).capitalize())
    record = report.record
    if record is None:
        click.echo("Record: none")
    else:
        click.echo(
            f"Record: {record.state}, run {record.run}, uid {record.uid}, last phase {record.phase or 'unknown'}"
        )
        click.echo(f"  reserved {record.reserved or 'at an unknown time'}, expires {record.expires or 'never'}")
    if report.runs:
        print_runs(report.runs)
    else:
        click.echo("Stored runs: none")


def print_verified(report: VerifyReport) -> None:
    """Print the result of comparing the store with the cluster."""
    if report.findings:
        print_runs([finding.run for finding in report.findings])
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
    if report.missing is not None:
        click.echo(f"Missing runs, whose deliveries stay refused: {report.missing.count}.")
        print_missing(report.missing)
        if report.missing.count:
            click.echo(
                "That is as it should be if they were deleted after they had finished. If a restore has lost them: "
                "rollonce runs forget --missing"
            )


def print_missing(report: MissingReport) -> None:
    """Print a table of the first records without runs, and how many there are besides."""
    table = _table(_MISSING)
    for run in report.runs[:SHOWN]:
        table.add_row(*map(cell, (run.namespace or "(unknown)", run.run, run.created, run.phase)))
    if report.runs:
        console().print(table)
    if report.count > SHOWN:
        click.echo(f"… and {report.count - SHOWN} more; all of them: rollonce runs verify -o json")
    if report.undecided:
        click.echo(
            f"Left out: {report.undecided} records that cannot be decoded or do not tell their namespace "
            "(dedupe.recordFormat 1), so that it is unknown whether their runs are missing."
        )


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
