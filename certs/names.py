"""The names under which an API server calls the webhook's Service."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from certs.errors import NamesError

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class ServingNames:
    """The names that a serving certificate is for.

    Attributes:
        service: Name of the Service, a DNS label.
        namespace: Namespace of the Service, a DNS label.
        cluster_domain: The cluster's DNS domain; a dot at its end is removed.
        hosts: Further DNS names, such as `localhost` during development.
        addresses: IP addresses at which the server is called, such as 127.0.0.1 if a webhook is registered by `url`.

    Raises:
        NamesError: A part is not a valid DNS name.
    """

    service: str
    namespace: str
    cluster_domain: str = "cluster.local"
    hosts: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        """Reject names that no certificate can have."""
        object.__setattr__(self, "cluster_domain", self.cluster_domain.removesuffix("."))
        for what, value in (("service name", self.service), ("namespace", self.namespace)):
            if not _LABEL.fullmatch(value):
                raise NamesError(f"{what} {value!r} is not a DNS label (a-z, 0-9, '-', at most 63 characters)")
        for name in self.dns_names:
            if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
                raise NamesError(f"{name!r} is not a DNS name; check the service name and the cluster domain")

    @property
    def dns_names(self) -> tuple[str, ...]:
        """All DNS names without repetition, among them that of the API server (`svc.ns.svc`)."""
        base = f"{self.service}.{self.namespace}"
        names = (self.service, base, f"{base}.svc", f"{base}.svc.{self.cluster_domain}", *self.hosts)
        return tuple(dict.fromkeys(names))

    @property
    def api_server_name(self) -> str:
        """The name by which the API server verifies a webhook that is registered by its Service.

        Source: `webhook.ServiceResolver` of k8s.io/apiserver uses `<name>.<namespace>.svc`.
        """
        return f"{self.service}.{self.namespace}.svc"
