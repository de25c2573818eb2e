"""`rollonce webhooks`."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from certs.bundle import parse_bundle
from certs.errors import CertificateError
from webhook import values
from webhook.admission import registration
from webhook.app import registrations
from webhook.commands.common import Checked, dump, namespaced, read_file
from webhook.config import read_file as read_settings
from webhook.errors import ConfigurationError
from webhook.hooks.checksums.operator import parse_operator


@click.command()
@click.option("--service", metavar="NAMESPACE/NAME", default="", help="The Service that the API server is to call.")
@click.option(
    "--url",
    type=Checked(values.https_url),
    metavar="URL",
    default="",
    help="Instead of a Service: https://host:port of a server outside.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="PEM bundle that the server's certificate chains to; by default it is left to be injected.",
)
@click.option(
    "--name",
    type=Checked(values.object_name),
    metavar="NAME",
    default="rollonce",
    show_default=True,
    help="Name of the configurations.",
)
@click.option(
    "--controller", metavar="NAMESPACE/NAME", default="", help="ServiceAccount whose own writes are not sent."
)
@click.option(
    "--operator-list",
    "listed",
    multiple=True,
    metavar="NAMESPACE",
    help="A namespace of rolloutChecksums.namespaces, whose workloads are all sent; can be given several times.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Take those namespaces from a settings file, if its list is enabled.",
)
def webhooks(
    *,
    service: str,
    url: str,
    ca_file: Path | None,
    name: str,
    controller: str,
    listed: tuple[str, ...],
    config: Path | None,
) -> None:
    """Print the webhook configurations, for `kubectl apply -f -`."""
    if bool(service) == bool(url):
        raise ConfigurationError("Give either --service NAMESPACE/NAME or --url https://host:port.")
    deployment = registration.Deployment(
        endpoint=registration.UrlEndpoint(url) if url else registration.ServiceEndpoint(*namespaced(service)),
        ca_bundle=base64.b64encode(_bundle(ca_file)).decode() if ca_file else "",
        configuration_name=name,
    )
    account = "system:serviceaccount:{}:{}".format(*namespaced(controller)) if controller else ""
    own, _, _ = service.partition("/")
    namespaces = tuple(sorted({*listed, *(_listed(config, own) if config else ())}))
    made = registration.configurations(registrations(controller=account, listed=namespaces), deployment)
    click.echo(dump(made), nl=False)


def _bundle(path: Path) -> bytes:
    try:
        return parse_bundle(read_file(path), what=str(path)).pem
    except CertificateError as error:
        raise ConfigurationError(f"--ca-file: {error}.") from None


def _listed(config: Path, own: str) -> frozenset[str]:
    policy = parse_operator(read_settings(config), default_namespace=own)
    return policy.namespaces if policy.enabled else frozenset()
