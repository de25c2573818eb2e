"""The TLS side of the admission server: its certificate, its options, and its readiness."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from certs.pem import KeyPair, encode_certificates
from tests.certs.samples import LOCAL, authority, pair
from tests.webhook.kube.waiting import eventually
from tests.webhook.tls.conftest import StartProcess
from webhook.errors import ConfigurationError
from webhook.runtime.parsers import Address
from webhook.server.runner import listen
from webhook.tls.readiness import dial
from webhook.tls.serving import start_serving_certificate

NOW = datetime.now(UTC)
CA = authority(names=LOCAL, now=NOW)


def files(folder: Path, made: KeyPair) -> dict[str, str]:
    """Write a pair to files, and return the flags that name them."""
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(made.chain_pem)
    key.write_bytes(made.key_pem)
    return {"tls_certificate": str(certificate), "tls_key": str(key)}


async def test_a_server_is_ready_when_its_port_serves_its_certificate(
    start_process: StartProcess, tmp_path: Path
) -> None:
    """Both conditions are shown until they are met."""
    served = pair(CA, names=LOCAL, now=NOW)
    process = await start_process(**files(tmp_path, served))
    certificate = await start_serving_certificate(process)
    listener = await listen(web.Application(), Address("127.0.0.1", 0), tls=certificate.port, setting="--listen")
    process.stack.push_async_callback(listener.close)
    certificate.wait_until_usable(process, listener.host, listener.port)
    assert [reason.partition(":")[0] for reason in process.readiness.reasons()] == ["the certificate", "our own port"]
    await eventually(lambda: process.readiness.ready)
    leaf = await dial("127.0.0.1", listener.port, server_name="localhost")
    assert leaf == served.leaf.public_bytes(Encoding.DER)
    assert process.registry.get_sample_value("rollonce_certificate_renewals_total") == 1


async def test_a_server_whose_port_is_closed_is_not_ready(start_process: StartProcess, tmp_path: Path) -> None:
    """The reason is shown; here no server listens on the port."""
    process = await start_process(**files(tmp_path, pair(CA, names=LOCAL, now=NOW)))
    certificate = await start_serving_certificate(process)
    certificate.wait_until_usable(process, "127.0.0.1", 1)
    await eventually(lambda: any("no TLS handshake" in reason for reason in process.readiness.reasons()))
    assert not process.readiness.ready


async def test_settings_that_cannot_work_end_the_start(start_process: StartProcess, tmp_path: Path) -> None:
    """The message names the setting."""
    good = files(tmp_path, pair(CA, names=LOCAL, now=NOW))
    not_pem, expired = tmp_path / "not.pem", tmp_path / "expired.pem"
    not_pem.write_text("not a certificate")
    old = authority(now=datetime(2020, 1, 1, tzinfo=UTC))
    expired.write_bytes(encode_certificates((old.certificate,)))
    for flags, message in (
        ({"tls_client_names": "apiserver"}, "flag --tls-client-names: names can only be checked .* --tls-client-ca"),
        ({"tls_client_ca": str(tmp_path / "none")}, "flag --tls-client-ca: cannot read"),
        ({"tls_client_ca": str(not_pem)}, "flag --tls-client-ca: the clients' CA: no PEM certificate"),
        ({"tls_client_ca": str(expired)}, "flag --tls-client-ca: client certificates are required, but no CA"),
        ({"tls_key": str(tmp_path / "none")}, "--tls-certificate, --tls-key: .*/none: No such file"),
        ({"tls_key": ""}, "--tls-key is required"),
    ):
        process = await start_process(**{**good, **flags})
        with pytest.raises(ConfigurationError, match=message):
            await start_serving_certificate(process)
