"""Where certificates come from, as the settings say."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from webhook.errors import ConfigurationError
from webhook.runtime import options
from webhook.runtime.settings import Settings, SettingsCatalogue
from webhook.tls import settings as tls_settings
from webhook.tls.sources import ProvidedFiles, ProvidedSecret, SelfManaged, certificate_source, is_self_managed

CATALOGUE = SettingsCatalogue((*options.SERVER, *tls_settings.SERVER))


def resolve(**flags: str) -> Settings:
    """Return the settings for these flags, without an environment."""
    return CATALOGUE.resolve(flags, config=None, environ={})


def test_without_files_certificates_are_self_managed() -> None:
    """The settings give everything that this mode needs."""
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


def test_the_host_of_a_url_is_verified() -> None:
    """The URL includes the whole port: one that begins with the same digits is another server."""
    source = certificate_source(resolve(namespace="ops", webhooks_url="https://127.0.0.1:844"))
    assert isinstance(source, SelfManaged)
    assert source.server_name == "127.0.0.1"
    assert not "https://127.0.0.1:8443/x".startswith(source.target.url_prefix)


def test_files_are_used_if_they_are_given() -> None:
    """Neither the mode nor the namespace need be given."""
    settings = resolve(tls_certificate="a.crt", tls_key="a.key")
    assert certificate_source(settings) == ProvidedFiles(Path("a.crt"), Path("a.key"))
    assert not is_self_managed(settings)


def test_a_secret_is_used_in_mode_secret() -> None:
    """It is in the namespace of the installation."""
    settings = resolve(tls_mode="secret", tls_secret="issued", namespace="ops")
    assert certificate_source(settings) == ProvidedSecret("ops", "issued", "rollonce.ops.svc")
    assert not is_self_managed(settings)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tls_mode": "files"}, "--tls-certificate is required"),
        ({"tls_certificate": "a.crt"}, "--tls-key is required"),
        ({"tls_mode": "secret", "tls_key": "a.key", "namespace": "ops"}, "no certificate files are read"),
        ({"namespace": "ops", "cluster_domain": "not a domain"}, "is not a DNS name"),
        ({"namespace": "ops", "tls_ca_lifetime": "1h"}, "a third of the CA's lifetime"),
        ({"namespace": "ops", "tls_extra_names": "under_score"}, "is not a DNS name"),
        ({"namespace": "ops", "tls_mode": "secret", "cluster_domain": "-"}, "is not a DNS name"),
    ],
)
def test_settings_that_cannot_work_are_rejected(flags: dict[str, str], message: str) -> None:
    """The message says what to change."""
    with pytest.raises(ConfigurationError, match=message):
        certificate_source(resolve(**flags))


def test_the_namespace_is_given_or_that_of_the_pod(tmp_path: Path) -> None:
    """A flag, POD_NAMESPACE, the file of the ServiceAccount, in this order; outside of a pod it has to be given."""
    file = tmp_path / "namespace"
    with pytest.raises(ConfigurationError, match="Give it by --namespace"):
        options.own_namespace(resolve(), file=file)
    file.write_text("of-the-pod\n")
    assert options.own_namespace(resolve(), file=file) == "of-the-pod"
    environment = CATALOGUE.resolve({}, config=None, environ={"POD_NAMESPACE": "of-the-environment"})
    assert options.own_namespace(environment, file=file) == "of-the-environment"
    assert options.own_namespace(resolve(namespace="given"), file=file) == "given"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The message says which setting names it."""
    with pytest.raises(ConfigurationError, match="flag --tls-client-ca: cannot read"):
        options.required_file(resolve(tls_client_ca=str(tmp_path / "none")), tls_settings.TLS_CLIENT_CA)
