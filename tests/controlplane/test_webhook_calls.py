"""The API server calls webhooks with a client certificate, so that webhooks can require it."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.controlplane import ControlPlane
from tests.controlplane.pki import Authority


class ReportingWebhook(http.server.BaseHTTPRequestHandler):
    """A webhook that allows every request and returns the caller's certificate name in a warning."""

    def do_POST(self) -> None:
        """Answer a review."""
        assert isinstance(self.connection, ssl.SSLSocket)
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        peer = x509.load_der_x509_certificate(self.connection.getpeercert(binary_form=True) or b"")
        warning = f"called by {peer.subject.rfc4514_string()}"
        answer = {"uid": review["request"]["uid"], "allowed": True, "warnings": [warning]}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is that of the base class
        """Log nothing."""


class QuietServer(http.server.ThreadingHTTPServer):
    """A server that does not print failed handshakes, which the tests expect."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing."""


@contextmanager
def webhook(folder: Path, clients: Path) -> Iterator[tuple[str, bytes]]:
    """Serve a webhook for clients with a certificate of an authority; yield its URL and its CA certificate."""
    authority = Authority.create(folder / "pki", "webhook-ca")
    pair = authority.issue("webhook", common_name="webhook", hosts=("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(clients)
    with QuietServer(("127.0.0.1", 0), ReportingWebhook) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/", authority.pair.certificate.read_bytes()
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def registered(plane: ControlPlane, namespace: str, url: str, authority: bytes) -> Iterator[None]:
    """Register the webhook for each ConfigMap that is created in a namespace, until the end of the block."""
    registration = {
        "name": "reporting.example.test",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(authority).decode()},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 5,
    }
    plane.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": namespace},
            "webhooks": [registration],
        }
    )
    try:
        yield
    finally:
        plane.kubectl("delete", "validatingwebhookconfiguration", namespace)


def attempt(plane: ControlPlane, namespace: str) -> str:
    """Try to create a ConfigMap and return the standard error of kubectl."""
    return plane.kubectl("create", "configmap", "new", "-n", namespace, "--dry-run=server", check=False).stderr


def test_a_webhook_can_require_the_api_servers_certificate(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A webhook that trusts `webhook_client_authority` is called with the certificate of `kube-apiserver`."""
    with (
        webhook(tmp_path, plane.webhook_client_authority) as (url, authority),
        registered(plane, namespace, url, authority),
    ):
        plane.wait_for(lambda: "called by CN=kube-apiserver" in attempt(plane, namespace), what="the webhook's call")


@pytest.mark.parametrize("other", ["unknown", "cluster"])
def test_a_webhook_that_trusts_another_authority_rejects_the_api_server(
    plane: ControlPlane, namespace: str, tmp_path: Path, other: str
) -> None:
    """A webhook that trusts another CA, also the cluster's CA, rejects the certificate of the API server."""
    trusted = plane.authority if other == "cluster" else Authority.create(tmp_path, "unknown").pair.certificate
    with webhook(tmp_path, trusted) as (url, authority), registered(plane, namespace, url, authority):
        plane.wait_for(lambda: "failed calling webhook" in attempt(plane, namespace), what="the refusal")
