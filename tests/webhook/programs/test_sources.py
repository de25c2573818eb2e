"""From settings to where certificates come from."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from webhook import options
from webhook.certificates.settings import ProvidedFiles, ProvidedSecret, SelfManaged
from webhook.config import Values
from webhook.errors import ConfigurationError
from webhook.programs.sources import certificate_source, manages_itself, own_namespace, required_file


def resolve(**flags: str) -> Values:
    """Settings by flags alone."""
    return options.resolve(flags, config=None, environ={})


def test_without_files_rollonce_manages_its_certificates() -> None:
    """Everything that the self-managed mode needs comes from the settings."""
    source = certificate_source(
        resolve(
            namespace="ops",
            service="hooks",
            webhooks_names="one,two",
            tls_extra_names="localhost, 127.0.0.1, ::1",
            tls_ca_secret="authority",
            tls_leaf_lifetime="2h",
        )
    )
    assert isinstance(source, SelfManaged)
    assert (source.namespace, source.secret) == ("ops", "authority")
    assert source.target.mutating == source.target.validating == ("one", "two")
    assert source.rotation.names.hosts == ("localhost",)
    assert source.rotation.names.addresses == (ip_address("127.0.0.1"), ip_address("::1"))
    assert source.rotation.leaf_lifetime == timedelta(hours=2)
    assert source.server_name == "hooks.ops.svc"


def test_a_url_is_the_name_that_is_verified() -> None:
    """And it ends at its port: another port that begins alike is somebody else's."""
    source = certificate_source(resolve(namespace="ops", webhooks_url="https://127.0.0.1:844"))
    assert isinstance(source, SelfManaged)
    assert source.server_name == "127.0.0.1"
    assert not "https://127.0.0.1:8443/x".startswith(source.target.url_prefix)


def test_files_are_taken_where_they_are_given() -> None:
    """Without any word about the mode, and without knowing the namespace."""
    values = resolve(tls_certificate="a.crt", tls_key="a.key")
    assert certificate_source(values) == ProvidedFiles(Path("a.crt"), Path("a.key"))
    assert not manages_itself(values)


def test_a_secret_is_taken_when_it_is_asked_for() -> None:
    """By its name, in our own namespace."""
    values = resolve(tls_mode="secret", tls_secret="issued", namespace="ops")
    assert certificate_source(values) == ProvidedSecret("ops", "issued", "rollonce.ops.svc")
    assert not manages_itself(values)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"tls_mode": "files"}, "--tls-certificate is needed"),
        ({"tls_certificate": "a.crt"}, "--tls-key is needed"),
        ({"tls_mode": "secret", "tls_key": "a.key", "namespace": "ops"}, "no certificate files are read"),
        ({"namespace": "ops", "cluster_domain": "not a domain"}, "is not a DNS name"),
        ({"namespace": "ops", "tls_ca_lifetime": "1h"}, "a third of the CA's lifetime"),
        ({"namespace": "ops", "tls_extra_names": "under_score"}, "is not a DNS name"),
        ({"namespace": "ops", "tls_mode": "secret", "cluster_domain": "-"}, "is not a DNS name"),
    ],
)
def test_what_cannot_work_is_refused(flags: dict[str, str], said: str) -> None:
    """At the start, with what to change."""
    with pytest.raises(ConfigurationError, match=said):
        certificate_source(resolve(**flags))


def test_our_namespace_is_given_or_the_pod_s(tmp_path: Path) -> None:
    """A flag, POD_NAMESPACE, the ServiceAccount's file, in that order; outside of a pod it has to be given."""
    file = tmp_path / "namespace"
    with pytest.raises(ConfigurationError, match="Give it by --namespace"):
        own_namespace(resolve(), file=file)
    file.write_text("of-the-pod\n")
    assert own_namespace(resolve(), file=file) == "of-the-pod"
    environment = options.resolve({}, config=None, environ={"POD_NAMESPACE": "of-the-environment"})
    assert own_namespace(environment, file=file) == "of-the-environment"
    assert own_namespace(resolve(namespace="given"), file=file) == "given"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With where its name came from."""
    with pytest.raises(ConfigurationError, match="flag --tls-client-ca: cannot read"):
        required_file(resolve(tls_client_ca=str(tmp_path / "none")), options.TLS_CLIENT_CA)
