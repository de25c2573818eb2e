"""`rollonce rbac`: the rights of both programs in the namespaces that are served, no more than is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from webhook.admission.registration import OWN_LABEL, OWN_NAME
from webhook.app import Application
from webhook.errors import ConfigurationError
from webhook.kube.rbac import Access, AccessOptions, PolicyRule
from webhook.runtime.command_line import dump
from webhook.runtime.parsers import dns_label, dns_labels, object_names

_API: Final = "rbac.authorization.k8s.io"
_SERVER: Final = "rollonce"
_CONTROLLER: Final = "rollonce-controller"


def rbac(application: Application) -> click.Command:
    """Return the command that prints the Roles."""

    @click.command("rbac")
    @click.option(
        "--mode",
        type=click.Choice([access.value for access in Access]),
        default="namespaces",
        show_default=True,
        help="What may be read: listed objects, all of listed namespaces, or all.",
    )
    @click.option(
        "-n",
        "namespaces",
        default="",
        metavar="A,B",
        help="The namespaces; without any, `kubectl apply -n` says which.",
    )
    @click.option("--secrets", default="", metavar="A,B", help="With mode names: the Secrets.")
    @click.option("--configmaps", default="", metavar="A,B", help="With mode names: the ConfigMaps.")
    @click.option(
        "--accounts-in", default="rollonce", show_default=True, help="The namespace of rollonce's ServiceAccounts."
    )
    def command(*, mode: str, namespaces: str, secrets: str, configmaps: str, accounts_in: str) -> None:
        """Print the Roles for the namespaces that are served, for `kubectl apply -f -`."""
        try:
            named = {"secrets": object_names(secrets), "configmaps": object_names(configmaps)}
            places, accounts = dns_labels(namespaces), dns_label(accounts_in)
        except ValueError as error:
            raise ConfigurationError(f"{error}.") from None
        access = AccessOptions(Access(mode), {plural: names for plural, names in named.items() if names})
        click.echo(dump(roles(application, access, namespaces=places, accounts=accounts)), nl=False)

    return command


def roles(
    application: Application, access: AccessOptions, *, namespaces: Sequence[str] = (), accounts: str = "rollonce"
) -> list[dict[str, Any]]:
    """Return the roles of both programs and their bindings.

    Args:
        application: Knows which rules the features need.
        access: Which Secrets and ConfigMaps may be read.
        namespaces: Where; with none, the manifests name no namespace.
        accounts: The namespace of the ServiceAccounts.

    Raises:
        ConfigurationError: The arguments contradict each other.
    """
    if (access.access is Access.NAMES) != bool(access.names):
        raise ConfigurationError("Give --secrets or --configmaps with mode names, and only with that.")
    if access.access is Access.CLUSTER and namespaces:
        raise ConfigurationError("With mode cluster there are no namespaces to give.")
    rules = application.access_rules(access)
    prefix = "Cluster" if access.access is Access.CLUSTER else ""
    return [
        manifest
        for namespace in (namespaces or ("",))
        for account, granted in ((_SERVER, rules.server), (_CONTROLLER, rules.controller))
        for manifest in _role(prefix, account, namespace, granted, accounts)
    ]


def _role(
    prefix: str, account: str, namespace: str, granted: Sequence[PolicyRule], accounts: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    # The controller already has a role of its own name, for its work in its own namespace.
    name = f"{account}-access"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": {OWN_LABEL: OWN_NAME}}
    role = {"apiVersion": f"{_API}/v1", "kind": f"{prefix}Role", "metadata": metadata, "rules": list(granted)}
    binding = {
        "apiVersion": f"{_API}/v1",
        "kind": f"{prefix}RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _API, "kind": f"{prefix}Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": accounts}],
    }
    return role, binding
