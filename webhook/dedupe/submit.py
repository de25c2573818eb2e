"""`rollonce submit`: create runs, where a delivery that has its run already is no error."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
import yaml
from rich.table import Table

from webhook.admission.text import shown
from webhook.dedupe.core.run import ORCHESTRATION_RUNS
from webhook.dedupe.core.submit_documents import RunDocument, read_documents
from webhook.dedupe.core.submit_reply import RunEnd
from webhook.dedupe.submitter import SubmittedRun, Submitter
from webhook.errors import ConfigurationError, RollonceError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.configuration import default_namespace
from webhook.runtime import options, parsers
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import Checked, cell, console, print_json, read_file, settings_options
from webhook.runtime.settings import Settings

FAILURE_EXIT: Final = 1
MISMATCH_EXIT: Final = 3
RUN_FAILED_EXIT: Final = 4

_STDIN: Final = "-"
_COLUMNS: Final = ("NAMESPACE", "RUN", "PHASE", "RUN ID", "RESULT")
_MOST_SECONDS: Final = 7 * 86_400.0


class _Duration(click.ParamType[float]):
    """An option that is a duration such as `90s`; its value is in seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the text."""
        if not isinstance(value, str):
            return value
        try:
            return parsers.duration_between(1, _MOST_SECONDS)(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.command()
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="YAML or JSON with one or more runs; - for standard input. Can be given several times.",
)
@click.option(
    "-n",
    "--namespace",
    type=Checked(parsers.dns_label),
    help="Namespace of runs that name none; by default that of the context.",
)
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml", "name"]), default="table", show_default=True
)
@click.option("--wait", is_flag=True, help="Follow the runs to their end.")
@click.option("--timeout", type=_Duration(), default="10m", show_default=True, help="When to give up, --wait included.")
@settings_options(options.KUBERNETES)
def submit(
    *, files: Sequence[str], namespace: str | None, output: str, wait: bool, timeout: float, settings: Settings
) -> int:
    r"""Create runs, each at most once, however often they are submitted.

    A delivery that has its run already is no error: that run is printed, with its phase as it is now. What cannot be
    answered yet (429, 503, a webhook or an API server that cannot be reached) is sent again until --timeout.

    \b
    Exit codes: 0  each delivery has its run (with --wait: which has succeeded)
                1  a run was refused, or time is over
                2  the command line or a document is wrong; nothing was sent
                3  a delivery has a run with other parameters
                4  with --wait: a run has failed or was cancelled
    """
    documents = [document for file in files for document in _documents(file, namespace or "")]
    return asyncio.run(_submit(documents, settings, output=output, wait=wait, seconds=timeout))


def _documents(file: str, namespace: str) -> list[RunDocument]:
    source = "standard input" if file == _STDIN else shown(file)
    data = sys.stdin.buffer.read() if file == _STDIN else read_file(Path(file))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{source} is not UTF-8.") from None
    return read_documents(text, source=source, resource=ORCHESTRATION_RUNS, namespace=namespace)


async def _submit(
    documents: Sequence[RunDocument], settings: Settings, *, output: str, wait: bool, seconds: float
) -> int:
    chosen = settings[options.KUBECONFIG], settings[options.CONTEXT]
    configuration = await load_configuration(*chosen)
    default = default_namespace(*chosen)
    clock = Clock()
    api = KubernetesClient(configuration, user_agent="rollonce-submit")
    submitter = Submitter(api, ORCHESTRATION_RUNS, clock=clock, deadline=clock.deadline(seconds), tell=_tell)
    runs: list[SubmittedRun] = []
    failed = False
    try:
        for document in documents:
            try:
                runs.append(await submitter.submit(document, document.namespace or default))
            except RollonceError as error:
                failed = True
                _tell(f"error: {error}")
            else:
                _tell_mismatch(document, runs[-1])
        if wait:
            runs = list(await asyncio.gather(*(_followed(submitter, run) for run in runs)))
            failed = failed or any(not run.payload_mismatch and run.end is None for run in runs)
    finally:
        await api.close()
    _print(runs, output)
    if failed:
        return FAILURE_EXIT
    if any(run.payload_mismatch for run in runs):
        return MISMATCH_EXIT
    return RUN_FAILED_EXIT if wait and any(run.end is RunEnd.FAILED for run in runs) else 0


async def _followed(submitter: Submitter, run: SubmittedRun) -> SubmittedRun:
    # The outcome of a run with other parameters is not that of what was submitted.
    return run if run.payload_mismatch else await submitter.follow(run)


def _tell_mismatch(document: RunDocument, run: SubmittedRun) -> None:
    if run.payload_mismatch:
        identity = "under this name" if document.run.delivery_id is None else "with this deliveryId"
        _tell(
            f"error: {document.title}: the parameters (spec.parameters) differ from those of {run.namespace}/"
            f"{run.name}, which was submitted first {identity}; nothing was created"
        )


def _print(runs: Sequence[SubmittedRun], output: str) -> None:
    match output:
        case "json":
            print_json(runs)
        case "yaml":
            click.echo(yaml.safe_dump(msgspec.to_builtins(runs), sort_keys=False), nl=False)
        case "name":
            for run in runs:
                click.echo(f"{ORCHESTRATION_RUNS.kind.lower()}.{ORCHESTRATION_RUNS.group}/{run.name}")
        case _ if runs:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for column in _COLUMNS:
                table.add_column(column, overflow="fold")
            for run in runs:
                table.add_row(*map(cell, (run.namespace, run.name, run.state, run.run_id, _result(run))))
            console().print(table)


def _result(run: SubmittedRun) -> str:
    if run.payload_mismatch:
        return "already there, with other parameters"
    return "already there" if run.idempotent else "created"


def _tell(line: str) -> None:
    click.echo(f"rollonce: {line}", err=True)
