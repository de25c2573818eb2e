"""An HTTP proxy before the API server that loses replies, or gives its own, as a load balancer can."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests.controlplane import ControlPlane
from tests.controlplane.kubeconfig import plain_kubeconfig


@dataclass
class ApiFront:
    """The proxy.

    Attributes:
        kubeconfig: Credentials for clients; the proxy itself is an administrator.
        host: The API server.
        trust: How it is called.
        lost_replies: How many creates that are not dry runs are passed on and get no reply.
        answers: What the next creates get instead of being passed on: statuses and bodies.
        requests: The requests so far: methods and paths with their queries.
    """

    kubeconfig: Path
    host: str
    trust: ssl.SSLContext
    lost_replies: int = 0
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def creates(self) -> list[bool]:
        """The creates so far: whether each was a dry run."""
        return ["dryRun" in path for method, path in self.requests if method == "POST"]


@contextmanager
def api_front(plane: ControlPlane, folder: Path) -> Iterator[ApiFront]:
    """Run the proxy until the end of the block."""
    config = json.loads(plane.kubeconfig.read_text())
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    certificate, key = folder / "admin.crt", folder / "admin.key"
    certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
    key.write_bytes(base64.b64decode(user["client-key-data"]))
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    trust = ssl.create_default_context(cadata=authority)
    trust.load_cert_chain(certificate, key)
    front = ApiFront(folder, urlsplit(cluster["server"]).netloc, trust)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, front))
    front.kubeconfig = plain_kubeconfig(server.server_address[1], folder)
    thread = threading.Thread(target=server.serve_forever, name="api-front")
    thread.start()
    try:
        yield front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Pass on one request for each connection."""

    def __init__(self, front: ApiFront, *arguments: object) -> None:
        self._front = front
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Pass on a read."""
        self._pass_on(b"")

    def do_POST(self) -> None:
        """Pass on a create, or answer it, or lose its reply."""
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *arguments: object) -> None:
        """Write no log."""

    def _pass_on(self, body: bytes) -> None:
        front = self._front
        front.requests.append((self.command, self.path))
        if self.command == "POST" and front.answers:
            self._reply(*front.answers.pop(0))
            return
        connection = http.client.HTTPSConnection(front.host, context=front.trust, timeout=30)
        try:
            connection.request(self.command, self.path, body or None, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        if self.command == "POST" and "dryRun" not in self.path and front.lost_replies:
            front.lost_replies -= 1
            self.close_connection = True
            return
        self._reply(reply.status, content)

    def _reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
