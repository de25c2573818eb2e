"""`rollonce webhooks`: the webhook configurations."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from certs.bundle import parse_bundle
from certs.errors import CertificateError
from webhook.admission.registration import (
    Installation,
    RegistrationOptions,
    ServiceEndpoint,
    UrlEndpoint,
    configurations,
)
from webhook.app import Application
from webhook.checksums.policy_file import parse_policy
from webhook.errors import ConfigurationError
from webhook.runtime import parsers
from webhook.runtime.command_line import Checked, dump, namespaced, read_file
from webhook.runtime.settings import read_file as read_settings


def webhooks(application: Application) -> click.Command:
    """Return the command that prints the webhook configurations."""

    @click.command("webhooks")
    @click.option("--service", metavar="NAMESPACE/NAME", default="", help="The Service that the API server calls.")
    @click.option(
        "--url",
        type=Checked(parsers.https_url),
        metavar="URL",
        default="",
        help="Instead of a Service: https://host:port of a server outside of the cluster.",
    )
    @click.option(
        "--ca-file",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help="PEM bundle that the server's certificate chains to; by default it is left to be injected.",
    )
    @click.option(
        "--name",
        type=Checked(parsers.object_name),
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
    def command(
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
        installation = Installation(
            endpoint=UrlEndpoint(url) if url else ServiceEndpoint(*namespaced(service)),
            ca_bundle=base64.b64encode(_bundle(ca_file)).decode() if ca_file else "",
            configuration_name=name,
        )
        own, _, _ = service.partition("/")
        options = RegistrationOptions(
            controller_user="system:serviceaccount:{}:{}".format(*namespaced(controller)) if controller else "",
            policy_namespaces=tuple(sorted({*listed, *(_policy_namespaces(config, own) if config else ())})),
        )
        click.echo(dump(configurations(application.registrations(options), installation)), nl=False)

    return command


def _bundle(path: Path) -> bytes:
    try:
        return parse_bundle(read_file(path), what=str(path)).pem
    except CertificateError as error:
        raise ConfigurationError(f"--ca-file: {error}.") from None


def _policy_namespaces(config: Path, own: str) -> frozenset[str]:
    policy = parse_policy(read_settings(config), default_namespace=own)
    return policy.namespaces if policy.enabled else frozenset()
