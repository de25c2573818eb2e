"""Start, stop and faults of servers, and the effect of these on the API server and its clients."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.polling import wait_for
from tests.e2e.load import Load, failed_calls
from tests.e2e.objects import RUNS, deployment, run, secret, template_annotations
from tests.rollonce import Installation, Replica
from tests.valkey import Valkey

pytestmark = pytest.mark.cluster

BUSY = "busy"
DRAIN_SECONDS = 2


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane that the tests break."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        running.kubectl("create", "namespace", BUSY)
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Start the deduplication store."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def installation(
    plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Start three servers that accept only the API server's client certificate."""
    folder = tmp_path_factory.mktemp("servers")
    client_settings = (f"--tls-client-ca={plane.webhook_client_authority}", "--tls-client-names=kube-apiserver")
    settings = (f"--drain={DRAIN_SECONDS}s", *client_settings)
    with Installation.start(plane, folder, redis_url=store.url, replicas=3, settings=settings) as running:
        yield running


@contextmanager
def removed_from_service(installation: Installation, replica: Replica) -> Iterator[None]:
    """Send new connections to the other replicas, as a Service does for a replica that is not ready."""
    wait_for(lambda: replica.health("/readyz")[0] == 503, what="the replica to be unready")
    installation.balancer.ports = tuple(other.port for other in installation.replicas if other is not replica)
    try:
        yield
    finally:
        installation.balancer.ports = tuple(other.port for other in installation.replicas)


def test_a_rolling_restart_fails_no_call(plane: ControlPlane, installation: Installation) -> None:
    """Under load, each server gets SIGTERM, drains, exits with 0 in time, and is started again."""
    before = failed_calls(plane)
    with Load(plane, BUSY) as load:
        for replica in installation.replicas:
            started = time.monotonic()
            replica.process.signal(signal.SIGTERM)
            with removed_from_service(installation, replica):
                assert replica.process.wait(DRAIN_SECONDS + 15) == 0
                assert time.monotonic() - started >= DRAIN_SECONDS
                replica.process.start()
            load.wait_for(50)
    assert load.failures == {}
    assert failed_calls(plane) == before


def test_a_draining_server_still_serves(plane: ControlPlane, installation: Installation) -> None:
    """A draining server is not ready, is alive, and answers requests."""
    (replica, *_) = installation.replicas
    replica.process.signal(signal.SIGTERM)
    with removed_from_service(installation, replica):
        status, reasons = replica.health("/readyz")
        assert (status, "draining" in reasons) == (503, True)
        assert replica.health("/livez")[0] == 200
        installation.balancer.ports = (replica.port,)
        plane.kubectl("create", "-n", BUSY, "-f", "-", input=json.dumps(run("while-draining")))
        assert replica.process.wait() == 0
        replica.process.start()


def test_a_second_signal_ends_the_server_at_once(installation: Installation) -> None:
    """A second SIGTERM ends the server without the drain."""
    (replica, *_) = installation.replicas
    replica.process.signal(signal.SIGTERM)
    with removed_from_service(installation, replica):
        replica.process.signal(signal.SIGTERM)
        assert replica.process.wait(DRAIN_SECONDS) == -signal.SIGTERM
        replica.process.start()


def test_an_outage_of_dependencies_does_not_change_readiness(
    plane: ControlPlane, installation: Installation, store: Valkey
) -> None:
    """Without Redis and the API server, all replicas stay ready and alive."""
    store.freeze()
    plane.kill("apiserver")
    try:
        for replica in installation.replicas:
            assert replica.health("/readyz")[0] == 200
            assert replica.health("/livez")[0] == 200
    finally:
        store.thaw()
        plane.restart("apiserver")


def test_a_server_is_not_ready_before_it_has_reached_redis(
    plane: ControlPlane, installation: Installation, store: Valkey
) -> None:
    """Without Redis a new server is alive and not ready and says why; with Redis it becomes ready."""
    store.freeze()
    arguments = (f"--redis-url={store.url}", "--drain=0s", *installation._issue(9))
    late = installation._program("serve", 9, plane.kubeconfig, arguments, {})
    try:
        wait_for(lambda: late.process.running and status_of(late, "/livez") == 200, what="the server to be alive")
        wait_for(lambda: "start: " not in late.health("/readyz")[1], what="the server to be started")
        status, reasons = late.health("/readyz")
        assert status == 503
        assert "Redis: " in reasons
        store.thaw()
        late.process.wait_ready()
    finally:
        store.thaw()
        late.process.kill()


def status_of(replica: Replica, path: str) -> int:
    """Return the status of a path of the health port; 0 if the server does not listen yet."""
    try:
        return replica.health(path)[0]
    except OSError:
        return 0


@pytest.mark.parametrize("certificate", ["none", "another CA", "another name"])
def test_other_clients_get_no_answer(plane: ControlPlane, installation: Installation, certificate: str) -> None:
    """A client without the API server's certificate gets no HTTP answer."""
    (replica, *_) = installation.replicas
    context = installation.trust
    if certificate == "another CA":
        pair = plane._site.authority.issue("another-ca", common_name="kube-apiserver")
        context.load_cert_chain(pair.certificate, pair.key)
    elif certificate == "another name":
        pair = plane._site.webhook_authority.issue("another-name", common_name="another-name")
        context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_connection(("127.0.0.1", replica.port), timeout=10) as plain:
        received = b""
        # With TLS 1.3 the handshake of a client succeeds before the server has verified its certificate.
        with (
            contextlib.suppress(ssl.SSLError, ConnectionError),
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = secure.recv(1)
    assert received == b""


def test_the_api_server_is_accepted(plane: ControlPlane, installation: Installation) -> None:
    """The API server is accepted by its client certificate, and so is a client with the same CA and name."""
    plane.kubectl("create", "-n", BUSY, "-f", "-", input=json.dumps(run("accepted")))
    (replica, *_) = installation.replicas
    pair = plane._site.webhook_authority.issue("same-name", common_name="kube-apiserver")
    context = installation.trust
    context.load_cert_chain(pair.certificate, pair.key)
    with (
        socket.create_connection(("127.0.0.1", replica.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert secure.recv(8) == b"HTTP/1.1"


def test_without_a_server_the_cluster_works(plane: ControlPlane, installation: Installation) -> None:
    """Deployments can be written, runs and namespaces deleted, and a refused run gets the name of the webhook."""
    deleted = "deleted"
    plane.kubectl("create", "namespace", deleted)
    plane.apply([secret("database", password="one")], namespace=deleted)
    for name in ("one", "two"):
        plane.kubectl("create", "-n", deleted, "-f", "-", input=json.dumps(run(f"d-{name}", name=name)))
    for replica in installation.replicas:
        replica.process.kill()
    try:
        plane.apply([deployment(secrets="database", replicas=0)], namespace=deleted)
        assert template_annotations(plane, deleted) == {}
        refused = plane.kubectl("create", "-n", deleted, "-f", "-", input=json.dumps(run("d-three")), check=False)
        assert refused.returncode == 1
        assert "mutate-runs.rollonce.proompteng.ai" in refused.stderr
        plane.kubectl("create", "-n", deleted, "-f", "-", input=json.dumps(run(None)))
        plane.kubectl("delete", RUNS, "one", "-n", deleted, "--timeout=30s")
        plane.kubectl("delete", "namespace", deleted, "--timeout=60s")
        own = deployment("rollonce", replicas=0, secrets="database")
        own["metadata"]["labels"] = {"app.kubernetes.io/name": "rollonce"}
        plane.apply([own], namespace=BUSY)
    finally:
        for replica in installation.replicas:
            replica.process.spawn()
        for replica in installation.replicas:
            replica.process.wait_ready()
    plane.kubectl("create", "-n", BUSY, "-f", "-", input=json.dumps(run("back-again")))
