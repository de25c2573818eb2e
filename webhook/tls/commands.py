"""`rollonce certs`: show until when certificates are valid and trusted, and have them replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import click
import msgspec
from rich.markup import escape
from rich.tree import Tree

from webhook.errors import ConfigurationError
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.registrations import registered_differences
from webhook.runtime import options
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import console, print_json, rendered_configurations, settings_options
from webhook.runtime.parsers import address, duration_seconds
from webhook.runtime.settings import Settings
from webhook.tls.api_adapter import CALL_SECONDS
from webhook.tls.certs_admin import CertificatesAdmin
from webhook.tls.certs_report import Report
from webhook.tls.settings import CERTIFICATE
from webhook.tls.sources import is_self_managed, self_managed_source

T = TypeVar("T")

_REPLICA = click.option(
    "--replica",
    "replicas",
    multiple=True,
    metavar="HOST:PORT",
    help="A server to ask for its certificate; by default all behind the Service. Can be given several times.",
)
_SETTINGS = settings_options((*options.KUBERNETES, *options.INSTALLATION, *CERTIFICATE))


@click.group()
def certs() -> None:
    """Show certificates, and have them replaced."""


@certs.command()
@click.option("-o", "--output", type=click.Choice(["tree", "json"]), default="tree", show_default=True)
@_REPLICA
@_SETTINGS
def status(output: str, replicas: tuple[str, ...], settings: Settings) -> int:
    """Show the CAs, what each replica serves, and what the webhooks trust.

    Ends with exit code 1 if something is wrong.
    """
    clock = Clock()
    rendered, names = rendered_configurations(settings), settings[options.CONFIGURATIONS]

    async def ask(admin: CertificatesAdmin, api: KubernetesClient) -> Report:
        report = await admin.report()
        found = await registered_differences(api, rendered, names, clock.deadline(CALL_SECONDS))
        repair = options.repair_command(settings) if found else ""
        return msgspec.structs.replace(report, differences=tuple(map(str, found)), repair=repair)

    report = _run(ask, settings, replicas, clock)
    if output == "json":
        print_json(report)
    else:
        console().print(tree(report, now=clock.now()))
    return 0 if report.healthy else 1


@certs.command()
@click.option("--ca", is_flag=True, help="Replace the CA, and the serving certificates with it.")
@click.option("--timeout", default="10m", show_default=True, metavar="DURATION", help="How long to wait for the end.")
@_REPLICA
@_SETTINGS
def rotate(ca: bool, timeout: str, replicas: tuple[str, ...], settings: Settings) -> None:  # noqa: FBT001 - click gives options by name
    """Replace serving certificates now, or the CA; no call fails through it."""
    try:
        seconds = duration_seconds(timeout)
    except ValueError as error:
        raise ConfigurationError(f"--timeout: {error}.") from None
    if not is_self_managed(settings):
        raise ConfigurationError("Certificates are provided here, so rollonce does not rotate them.")
    output = console(stderr=True)

    async def follow(admin: CertificatesAdmin, _: KubernetesClient) -> None:
        with output.status("Starting") as spinner:

            def say(text: str) -> None:
                output.print(escape(text))
                # Without a terminal there is no spinner, only the lines.
                spinner.update(escape(text))

            await (admin.rotate_authority if ca else admin.rotate_leaves)(say, seconds=seconds)

    _run(follow, settings, replicas, Clock())


def tree(report: Report, *, now: datetime) -> Tree:
    """Return a report as a tree for the terminal."""
    names = {authority.fingerprint: authority.place for authority in report.authorities}
    title = f"CA Secret {report.secret}" if report.secret else "Certificates are provided; there is no CA of rollonce"
    root = Tree(escape(title) + _problem(report.problem))
    for authority in report.authorities:
        notes = [_end("ends", authority.expires, now)]
        if authority.trusted_until:
            notes.append(_end("trusted until", authority.trusted_until, now))
        if authority.place == "next":
            notes.append("trusted by all webhooks" if authority.confirmed_at else "being published")
        shown = f"[bold]{authority.place}[/] CA {authority.fingerprint[:12]}, {', '.join(notes)}"
        root.add(shown + _problem(authority.problem))
    served = root.add("served")
    for replica in report.replicas:
        shown = f"{replica.fingerprint[:12]} of {_authority_name(replica.issuer, names)}, " if replica.expires else ""
        end = _end("ends", replica.expires, now) if replica.expires else ""
        served.add(f"{escape(replica.address)} {shown}{end}{_problem(replica.problem)}")
    if not report.replicas:
        served.add("no replica is known")
    published = root.add("trusted by webhooks")
    for webhook in report.webhooks:
        trusts = ", ".join(_authority_name(fingerprint, names) for fingerprint in webhook.trusts) or "no CA"
        published.add(f"{escape(webhook.name)}: {trusts}{_problem(webhook.problem)}")
    if not report.webhooks:
        published.add("no webhook of rollonce is registered")
    if report.differences:
        registered = root.add("[red]registered otherwise than the settings say[/]")
        for difference in report.differences:
            registered.add(escape(difference))
        registered.add(f"apply what they say by: {escape(report.repair)}")
    return root


def _run(
    work: Callable[[CertificatesAdmin, KubernetesClient], Awaitable[T]],
    settings: Settings,
    replicas: tuple[str, ...],
    clock: Clock,
) -> T:
    """Connect to the API server, work, and disconnect."""
    addresses = [_address(text) for text in replicas]

    async def main() -> T:
        configuration = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT])
        client = KubernetesClient(configuration, user_agent="rollonce-certs")
        try:
            admin = CertificatesAdmin(
                client,
                self_managed_source(settings),
                managed=is_self_managed(settings),
                clock=clock,
                replicas=addresses or None,
            )
            return await work(admin, client)
        finally:
            await client.close()

    return asyncio.run(main())


def _address(text: str) -> tuple[str, int]:
    try:
        parsed = address(text)
    except ValueError as error:
        raise ConfigurationError(f"--replica: {error}.") from None
    return parsed.host or "localhost", parsed.port


def _authority_name(fingerprint: str, names: dict[str, str]) -> str:
    if not fingerprint:
        return "an unknown CA"
    place = names.get(fingerprint)
    return f"{place} CA {fingerprint[:12]}" if place else f"CA {fingerprint[:12]}"


def _end(what: str, moment: datetime, now: datetime) -> str:
    left = (moment - now).total_seconds()
    written = moment.isoformat(timespec="seconds")
    if left <= 0:
        return f"[red]{what} {written}, which is over[/]"
    for unit, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if left >= 2 * seconds:
            return f"{what} {written} (in {left / seconds:.0f} {unit})"
    return f"{what} {written} (in {left:.0f} seconds)"


def _problem(text: str) -> str:
    return f" [red]{escape(text)}[/]" if text else ""
