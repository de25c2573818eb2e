"""`rollonce rbac`: the rights of both programs, no more than is chosen."""

from __future__ import annotations

from typing import Any, Final

import click

from webhook.admission.registration import OWN_LABEL, OWN_NAME
from webhook.commands.common import dump
from webhook.errors import ConfigurationError
from webhook.hooks.checksums.controller.scope import Access
from webhook.hooks.checksums.core.keys import Source, SourceKind
from webhook.hooks.checksums.rights import PolicyRule, controller_rules, server_rules
from webhook.values import dns_label, dns_labels, object_names

_API: Final = "rbac.authorization.k8s.io"
_RUNS: Final[PolicyRule] = {"apiGroups": ["orchestration.proompteng.ai"], "resources": ["orchestrationruns"]}
_SERVER: Final = "rollonce"
_CONTROLLER: Final = "rollonce-controller"


@click.command()
@click.option(
    "--mode",
    type=click.Choice([access.value for access in Access]),
    default="namespaces",
    show_default=True,
    help="What may be read: listed objects, all of listed namespaces, or all.",
)
@click.option(
    "-n", "namespaces", default="", metavar="A,B", help="The namespaces; without any, `kubectl apply -n` says which."
)
@click.option("--secrets", default="", metavar="A,B", help="With mode names: the Secrets.")
@click.option("--configmaps", default="", metavar="A,B", help="With mode names: the ConfigMaps.")
@click.option("--accounts-in", default="rollonce", show_default=True, help="The namespace of our ServiceAccounts.")
def rbac(*, mode: str, namespaces: str, secrets: str, configmaps: str, accounts_in: str) -> None:
    """Print the Roles of the namespaces that are served, for `kubectl apply -f -`."""
    try:
        sources = (
            *(Source(SourceKind.SECRET, name) for name in object_names(secrets)),
            *(Source(SourceKind.CONFIG_MAP, name) for name in object_names(configmaps)),
        )
        places, accounts = dns_labels(namespaces), dns_label(accounts_in)
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from None
    click.echo(dump(roles(Access(mode), namespaces=places, sources=sources, accounts=accounts)), nl=False)


def roles(
    access: Access, *, namespaces: tuple[str, ...] = (), sources: tuple[Source, ...] = (), accounts: str = "rollonce"
) -> list[dict[str, Any]]:
    """Write the roles of both programs and their bindings.

    Args:
        access: How far they may look.
        namespaces: Where; none leaves the namespace out of the manifests.
        sources: The Secrets and ConfigMaps, where it is by name.
        accounts: The namespace of the ServiceAccounts.

    Raises:
        ConfigurationError: The arguments contradict each other.
    """
    if (access is Access.NAMES) != bool(sources):
        raise ConfigurationError("Give --secrets or --configmaps with mode names, and only with that.")
    if access is Access.CLUSTER and namespaces:
        raise ConfigurationError("With mode cluster there are no namespaces to give.")
    rules = {
        _SERVER: [*server_rules(access, sources), {**_RUNS, "verbs": ["get", "list"]}],
        _CONTROLLER: [*controller_rules(access, sources), {**_RUNS, "verbs": ["list", "watch"]}],
    }
    prefix = "Cluster" if access is Access.CLUSTER else ""
    return [
        manifest
        for namespace in (namespaces or ("",))
        for account, granted in rules.items()
        for manifest in _role(prefix, account, namespace, granted, accounts)
    ]


def _role(
    prefix: str, account: str, namespace: str, granted: list[PolicyRule], accounts: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    # Of the controller there is a role of that name already, for what it does in its own namespace.
    name = f"{account}-access"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": {OWN_LABEL: OWN_NAME}}
    role = {"apiVersion": f"{_API}/v1", "kind": f"{prefix}Role", "metadata": metadata, "rules": granted}
    binding = {
        "apiVersion": f"{_API}/v1",
        "kind": f"{prefix}RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": _API, "kind": f"{prefix}Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": accounts}],
    }
    return role, binding
