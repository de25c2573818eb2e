"""`rollonce webhooks`."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from webhook.admission import registration
from webhook.app import registrations
from webhook.commands.common import dump, namespaced, read_file
from webhook.errors import ConfigurationError


@click.command()
@click.option("--service", metavar="NAMESPACE/NAME", default="", help="The Service that the API server is to call.")
@click.option("--url", metavar="URL", default="", help="Instead of a Service: https://host:port of a server outside.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="PEM bundle that the server's certificate chains to; by default it is left to be injected.",
)
@click.option("--name", default="rollonce", show_default=True, help="Name of the configurations.")
@click.option(
    "--controller", metavar="NAMESPACE/NAME", default="", help="ServiceAccount whose own writes are not sent."
)
def webhooks(service: str, url: str, ca_file: Path | None, name: str, controller: str) -> None:
    """Print the webhook configurations, for `kubectl apply -f -`."""
    if bool(service) == bool(url):
        raise ConfigurationError("Give either --service NAMESPACE/NAME or --url https://host:port.")
    deployment = registration.Deployment(
        endpoint=registration.UrlEndpoint(url) if url else registration.ServiceEndpoint(*namespaced(service)),
        ca_bundle=base64.b64encode(read_file(ca_file)).decode() if ca_file else "",
        configuration_name=name,
    )
    account = "system:serviceaccount:{}:{}".format(*namespaced(controller)) if controller else ""
    click.echo(dump(registration.configurations(registrations(controller=account), deployment)), nl=False)
