"""Certificates in operation: status, metrics, readiness, the other modes, and rights."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import issue_leaf, new_authority
from certs.names import ServingNames
from certs.pem import encode_certificates
from tests.controlplane import ControlPlane
from tests.controlplane.polling import wait_for
from tests.e2e.certificates.helpers import HOME, LEAF_SECONDS, SECRET, another, certs, settled, waits_for
from tests.rollonce import Installation
from tests.valkey import Valkey
from webhook.runtime.clock import Clock
from webhook.tls.readiness import dial

pytestmark = pytest.mark.cluster


def test_the_status_shows_what_is_wrong(plane: ControlPlane, installation: Installation) -> None:
    """The exit code is 0 without a problem, and 1 if a bundle is missing; the tree shows the problem."""
    wait_for(lambda: settled(plane), what="one CA")
    fine = certs(installation, "status")
    assert fine.returncode == 0
    assert "current CA" in fine.stdout
    assert fine.stdout.count("127.0.0.1:") == 3
    frozen = [controller.process for controller in installation.controllers]
    try:
        for process in frozen:
            process.freeze()
        remove = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
        patch = ("--type=json", "--patch", json.dumps(remove))
        plane.kubectl("patch", "validatingwebhookconfiguration", "rollonce", *patch)
        wrong = certs(installation, "status", check=False)
        assert wrong.returncode == 1
        assert "its caBundle is empty, so each call fails" in wrong.stdout
        assert wrong.stderr == ""
    finally:
        for process in frozen:
            process.thaw()
    wait_for(lambda: settled(plane), what="the bundle to be back")


def test_the_metrics_show_when_certificates_end(installation: Installation) -> None:
    """Seconds to the end of the leaf and the CA; only the leader shows whether the bundle is published."""
    for replica in installation.replicas:
        assert 0 < replica.metric("rollonce_certificate_remaining_seconds", certificate="leaf") <= LEAF_SECONDS
    leader = max(installation.controllers, key=lambda controller: controller.metric("rollonce_leader"))
    wait_for(lambda: leader.metric("rollonce_certificate_bundle_published") == 1)
    assert 8000 * 3600 < leader.metric("rollonce_certificate_remaining_seconds", certificate="ca") <= 8760 * 3600
    for other in installation.controllers:
        if other is not leader:
            assert other.metric("rollonce_certificate_bundle_published") == 0


def test_a_server_is_ready_when_its_certificate_is_trusted(
    plane: ControlPlane, installation: Installation, store: Valkey
) -> None:
    """With a CA that no webhook trusts, each call would fail."""
    wait_for(lambda: settled(plane), what="one CA")
    with another(installation, store, "--tls-ca-secret=unknown") as server:
        waits_for(server, "does not chain to the CA bundle")
        assert server.health("/livez")[0] == 200
        # The trusted CA replaces the other one.
        trusted = plane.get("secret", SECRET, HOME)["data"]
        plane.kubectl("delete", "secret", "unknown", "-n", HOME)
        copy = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "unknown"}, "data": trusted}
        plane.kubectl("create", "-f", "-", "-n", HOME, input=json.dumps(copy))
        server.process.wait_ready()


def test_a_provided_secret_is_served_and_reloaded(
    plane: ControlPlane, installation: Installation, store: Valkey
) -> None:
    """A Secret as cert-manager writes it: the server waits for it, serves it, and loads the renewed one."""
    names = ServingNames("rollonce", HOME, hosts=("localhost",))
    clock = Clock()
    ca = new_authority(names, now=clock.now(), lifetime=timedelta(days=9))

    def issue() -> bytes:
        pair = issue_leaf(ca, names, now=clock.now(), lifetime=timedelta(days=1))
        data = {"tls.crt": pair.chain_pem, "tls.key": pair.key_pem, "ca.crt": encode_certificates((ca.certificate,))}
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "issued"},
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        plane.apply([made], namespace=HOME)
        return pair.leaf.public_bytes(Encoding.DER)

    def served(port: int) -> bytes:
        return asyncio.run(dial("127.0.0.1", port, server_name="localhost"))

    with another(installation, store, "--tls-mode=secret", "--tls-secret=issued") as server:
        waits_for(server, f"the Secret {HOME}/issued does not exist")
        first = issue()
        server.process.wait_ready()
        assert served(server.port) == first
        second = issue()
        wait_for(lambda: served(server.port) == second, what="the renewed certificate")
        assert server.metric("rollonce_certificate_untrusted") == 0


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("account", ["rollonce", "rollonce-controller"])
def test_the_rights_of_the_manifests_are_enough(plane: ControlPlane, account: str) -> None:
    """None of the requests in the tests above was forbidden."""
    events = list(plane.audit.events(user=f"system:serviceaccount:{HOME}:{account}"))
    assert events
    assert {f"{event.verb} {event.request_uri}" for event in events if event.response_status.code == 403} == set()


def test_no_key_is_logged(installation: Installation) -> None:
    """No log has a private key."""
    for program in (*installation.replicas, *installation.controllers):
        assert "PRIVATE KEY" not in program.process.log.read_text()
