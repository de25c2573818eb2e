"""The names in a serving certificate."""

import pytest

from certs.errors import NamesError
from certs.names import ServingNames


def test_every_form_of_the_service_name_is_there_once() -> None:
    """From the Service name alone to the one with the cluster domain; further hosts are last."""
    names = ServingNames("hook", "prod", hosts=("localhost", "hook.prod"))
    assert names.dns_names == ("hook", "hook.prod", "hook.prod.svc", "hook.prod.svc.cluster.local", "localhost")
    assert names.api_server_name == "hook.prod.svc"


def test_a_dot_at_the_end_of_the_cluster_domain_is_removed() -> None:
    """DNS names in certificates have no root dot (RFC 5280, 4.2.1.6)."""
    assert ServingNames("hook", "prod", "example.org.").dns_names[-1] == "hook.prod.svc.example.org"


@pytest.mark.parametrize(
    ("service", "namespace", "domain"),
    [
        ("", "prod", "cluster.local"),
        ("Hook", "prod", "cluster.local"),
        ("hook", "pr.od", "cluster.local"),
        ("hook", "prod", "cluster..local"),
        ("hook", "prod", ""),
        ("h" * 64, "prod", "cluster.local"),
        ("hook\n", "prod", "cluster.local"),
        ("hook", "prod", ".".join(["x" * 60] * 4)),
    ],
)
def test_an_invalid_name_is_rejected(service: str, namespace: str, domain: str) -> None:
    """No certificate can be made with it."""
    with pytest.raises(NamesError):
        ServingNames(service, namespace, domain)
