"""`rollonce certs`: what is served and trusted until when, and having it replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from certs.errors import CertificateError
from webhook import options
from webhook.certificates.operator import Operator
from webhook.certificates.report import Report
from webhook.certificates.served import now
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.commands.common import settings_options
from webhook.config import Values
from webhook.errors import ConfigurationError, RollonceError
from webhook.programs.sources import manages_itself, self_managed
from webhook.values import address, duration_seconds

T = TypeVar("T")

_PIPE_WIDTH = 1000

_REPLICA = click.option(
    "--replica",
    "replicas",
    multiple=True,
    metavar="HOST:PORT",
    help="A server to ask for its certificate; by default all behind the Service. Can be given several times.",
)
_SETTINGS = settings_options((*options.KUBERNETES, *options.CERTIFICATES))


@click.group()
def certs() -> None:
    """Look at certificates, and have them replaced."""


@certs.command()
@click.option("-o", "--output", type=click.Choice(["tree", "json"]), default="tree", show_default=True)
@_REPLICA
@_SETTINGS
def status(output: str, replicas: tuple[str, ...], config: Path | None, **flags: str | None) -> int:
    """Show the CAs, who serves what, and what the webhooks trust.

    Ends with exit code 1 if something is wrong.
    """

    async def ask(operator: Operator) -> Report:
        return await operator.report()

    report = _run(ask, options.resolve(flags, config=config), replicas)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            # Whoever reads a pipe wants a line to be a line.
            console.width = _PIPE_WIDTH
        console.print(tree(report, now=now()))
    return 0 if report.healthy else 1


@certs.command()
@click.option("--ca", is_flag=True, help="Replace the CA, and the serving certificates with it.")
@click.option("--timeout", default="10m", show_default=True, metavar="DURATION", help="How long to wait for the end.")
@_REPLICA
@_SETTINGS
def rotate(ca: bool, timeout: str, replicas: tuple[str, ...], config: Path | None, **flags: str | None) -> None:  # noqa: FBT001 - click gives options by name
    """Replace serving certificates now, or the CA; no call fails through it."""
    try:
        seconds = duration_seconds(timeout)
    except ValueError as error:
        raise ConfigurationError(f"--timeout: {error}.") from None
    values = options.resolve(flags, config=config)
    if not manages_itself(values):
        raise ConfigurationError("Certificates are provided here: they are rotated by whoever provides them.")
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    async def ask(operator: Operator) -> None:
        with console.status("Starting") as spinner:

            def say(text: str) -> None:
                console.print(escape(text))
                # Without a terminal there is no spinner, and the lines are all.
                spinner.update(escape(text))

            await (operator.rotate_authority if ca else operator.rotate_leaves)(say, seconds=seconds)

    _run(ask, values, replicas)


def tree(report: Report, *, now: datetime) -> Tree:
    """Draw a report."""
    names = {authority.fingerprint: authority.place for authority in report.authorities}
    title = f"CA Secret {report.secret}" if report.secret else "Certificates are provided; their CA is not ours"
    root = Tree(escape(title) + _wrong(report.problem))
    for authority in report.authorities:
        notes = [_lasts("ends", authority.expires, now)]
        if authority.trusted_until:
            notes.append(_lasts("trusted until", authority.trusted_until, now))
        if authority.place == "next":
            notes.append("trusted by all webhooks" if authority.confirmed_at else "being published")
        root.add(f"[bold]{authority.place}[/] CA {authority.fingerprint[:12]}, {', '.join(notes)}")
    served = root.add("served")
    for replica in report.replicas:
        shown = f"{replica.fingerprint[:12]} of {_authority_name(replica.issuer, names)}, " if replica.expires else ""
        end = _lasts("ends", replica.expires, now) if replica.expires else ""
        served.add(f"{escape(replica.address)} {shown}{end}{_wrong(replica.problem)}")
    if not report.replicas:
        served.add("no replica is known")
    published = root.add("trusted by webhooks")
    for webhook in report.webhooks:
        trusts = ", ".join(_authority_name(one, names) for one in webhook.trusts) or "nobody"
        published.add(f"{escape(webhook.name)}: {trusts}{_wrong(webhook.problem)}")
    if not report.webhooks:
        published.add("no webhook of ours is registered")
    return root


def _run(ask: Callable[[Operator], Awaitable[T]], values: Values, replicas: tuple[str, ...]) -> T:
    """Connect, ask, and make of what goes wrong an error that the command line tells in a line."""
    addresses = [_address(text) for text in replicas]

    async def main() -> T:
        configuration = await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT])
        client = KubernetesClient(configuration, user_agent="rollonce-certs")
        managed = manages_itself(values)
        try:
            return await ask(Operator(client, self_managed(values), managed=managed, replicas=addresses or None))
        except CertificateError as error:
            raise RollonceError(f"{error}.") from None
        finally:
            await client.close()

    return asyncio.run(main())


def _address(text: str) -> tuple[str, int]:
    try:
        where = address(text)
    except ValueError as error:
        raise ConfigurationError(f"--replica: {error}.") from None
    return where.host or "localhost", where.port


def _authority_name(fingerprint: str, names: dict[str, str]) -> str:
    if not fingerprint:
        return "an unknown CA"
    place = names.get(fingerprint)
    return f"{place} CA {fingerprint[:12]}" if place else f"CA {fingerprint[:12]}"


def _lasts(what: str, moment: datetime, now: datetime) -> str:
    left = (moment - now).total_seconds()
    written = moment.isoformat(timespec="seconds")
    if left <= 0:
        return f"[red]{what} {written}, which is over[/]"
    for unit, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if left >= 2 * seconds:
            return f"{what} {written} (in {left / seconds:.0f} {unit})"
    return f"{what} {written} (in {left:.0f} seconds)"


def _wrong(problem: str) -> str:
    return f" [red]{escape(problem)}[/]" if problem else ""
