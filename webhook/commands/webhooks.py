"""`rollonce webhooks`: print what the settings lead to, compare a cluster with it, or delete what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from certs.bundle import parse_bundle
from certs.errors import CertificateError
from webhook.admission.registered import Difference, differences
from webhook.admission.registration import RegistrationOptions
from webhook.app import Application
from webhook.errors import ConfigurationError
from webhook.runtime import options, parsers
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import dump, namespaced, read_file
from webhook.runtime.settings import Settings

if TYPE_CHECKING:
    from webhook.kube.api import KubernetesApi

T = TypeVar("T")

_CALL_SECONDS = 10.0


def webhooks(application: Application) -> click.Command:
    """Return the command that prints the webhook configurations."""

    @click.command("webhooks")
    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help="The settings file of the programs: everything follows from it. Flags take precedence.",
    )
    @click.option("--namespace", metavar="NAME", help=options.NAMESPACE.help)
    @click.option("--service", metavar="[NAMESPACE/]NAME", help=options.SERVICE.help)
    @click.option(
        "--url",
        "--webhooks-url",
        "webhooks_url",
        metavar="URL",
        help="Instead of the Service: https://host:port of a server outside of the cluster.",
    )
    @click.option("--name", "--webhooks-names", "webhooks_names", metavar="NAME", help="Name of the configurations.")
    @click.option(
        "--ca-file",
        "--webhooks-ca-file",
        "webhooks_ca_file",
        metavar="FILE",
        help="PEM bundle that the server's certificate chains to; by default it is left to be injected.",
    )
    @click.option(
        "--controller",
        "--controller-service-account",
        "controller_service_account",
        metavar="[NAMESPACE/]NAME",
        help=options.CONTROLLER_ACCOUNT.help,
    )
    @click.option(
        "--operator-list",
        "listed",
        multiple=True,
        metavar="NAMESPACE",
        help="Instead of what the settings file lists: a namespace whose workloads are all sent. Several are possible.",
    )
    @click.option(
        "--check", is_flag=True, help="Compare with the cluster instead; exit code 1 if there is a difference."
    )
    @click.option(
        "--delete", is_flag=True, help="Delete those of these names from the cluster instead, before an uninstallation."
    )
    @click.option("--kubeconfig", metavar="FILE", help="With --check and --delete: " + options.KUBECONFIG.help)
    @click.option("--context", metavar="NAME", help="With --check and --delete: " + options.CONTEXT.help)
    def command(*, config: Path | None, listed: tuple[str, ...], check: bool, delete: bool, **flags: str | None) -> int:
        """Print the webhook configurations, for `kubectl apply -f -`.

        What is printed must be what the programs expect: a server is not ready while other webhooks are registered. So
        give the same settings as to them.
        """
        if check and delete:
            raise ConfigurationError("Give either --check or --delete.")
        settings, controller = _settings(application, flags, config)
        if delete:
            for kind, name in _delete(settings):
                click.echo(f"{kind} {name} is deleted.")
            return 0
        wanted = _wanted(application, settings, controller, listed)
        _require_endpoint(settings)
        if not check:
            bundle = _bundle(settings)
            rendered = application.webhook_configurations(settings, wanted=wanted, ca_bundle=bundle)
            click.echo(dump(rendered), nl=False)
            return 0
        found = _compare(application.webhook_configurations(settings, wanted=wanted), settings)
        for difference in found:
            click.echo(str(difference))
        click.echo(
            f"Differences: {len(found)}."
            + (f" Apply what is wanted by: {options.repair_command(settings)}" if found else "")
        )
        return 1 if found else 0

    return command


def _settings(
    application: Application, flags: Mapping[str, str | None], config: Path | None
) -> tuple[Settings, str | None]:
    """Return the settings, and the user name of a controller that is in another namespace."""
    given = dict(flags)
    controller: str | None = None
    if given["service"] is not None:
        if given["webhooks_url"]:
            raise ConfigurationError("Give either --service or --url.")
        # The flag overrides a URL in the settings file.
        given["webhooks_url"] = ""
        if "/" in given["service"]:
            namespace, given["service"] = namespaced(given["service"])
            if given["namespace"] not in {None, namespace}:
                raise ConfigurationError("--service and --namespace name different namespaces.")
            given["namespace"] = namespace
    if given["controller_service_account"] and "/" in given["controller_service_account"]:
        namespace, account = namespaced(given["controller_service_account"])
        controller = f"system:serviceaccount:{namespace}:{account}"
        given["controller_service_account"] = account
    return application.resolve(given, config=config), controller


def _wanted(
    application: Application, settings: Settings, controller: str | None, listed: tuple[str, ...]
) -> RegistrationOptions:
    wanted = application.registration_options(settings)
    if controller is not None:
        wanted = replace(wanted, controller_user=controller)
    if listed:
        try:
            namespaces = tuple(sorted({parsers.dns_label(name) for name in listed}))
        except ValueError as error:
            raise ConfigurationError(f"--operator-list: {error}.") from None
        wanted = replace(wanted, policy_namespaces=namespaces)
    return wanted


def _require_endpoint(settings: Settings) -> None:
    if settings[options.WEBHOOKS_URL]:
        return
    try:
        options.own_namespace(settings)
    except ConfigurationError:
        raise ConfigurationError(
            "Say what the API server calls: give --namespace, or --service NAMESPACE/NAME or --url https://host:port."
        ) from None


def _bundle(settings: Settings) -> bytes:
    path = settings[options.WEBHOOKS_CA_FILE]
    if path is None:
        return b""
    try:
        return parse_bundle(read_file(path), what=str(path)).pem
    except CertificateError as error:
        raise ConfigurationError(f"{settings.source(options.WEBHOOKS_CA_FILE)}: {error}.") from None


def _compare(rendered: list[dict[str, Any]], settings: Settings) -> tuple[Difference, ...]:
    # Imported here, because they take half a second to load, which printing does not need.
    from webhook.kube.registrations import read_configurations  # noqa: PLC0415

    names = settings[options.CONFIGURATIONS]
    live = _call(settings, lambda api: read_configurations(api, names, Clock().deadline(_CALL_SECONDS)))
    return differences(rendered, live)


def _delete(settings: Settings) -> list[tuple[str, str]]:
    from webhook.kube.registrations import delete_configurations  # noqa: PLC0415 - as above

    names = settings[options.CONFIGURATIONS]
    return _call(settings, lambda api: delete_configurations(api, names, Clock().deadline(_CALL_SECONDS)))


def _call(settings: Settings, call: Callable[[KubernetesApi], Awaitable[T]]) -> T:
    """Return the result of a call to the API server that the settings name."""
    from webhook.kube.client import KubernetesClient, load_configuration  # noqa: PLC0415 - as above

    async def connected() -> T:
        configuration = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT])
        client = KubernetesClient(configuration, user_agent="rollonce-webhooks")
        try:
            return await call(client)
        finally:
            await client.close()

    return asyncio.run(connected())
