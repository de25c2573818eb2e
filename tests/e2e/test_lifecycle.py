"""Starting, stopping, outages of what is below, and the total absence of servers: what others notice of it."""

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
    """A control plane of its own, which tests break."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        running.kubectl("create", "namespace", BUSY)
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The deduplication store."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def installation(
    plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Three servers that let in nobody but the API server."""
    folder = tmp_path_factory.mktemp("servers")
    callers = (f"--tls-client-ca={plane.webhook_client_authority}", "--tls-client-names=kube-apiserver")
    settings = (f"--drain={DRAIN_SECONDS}s", *callers)
    with Installation.start(plane, folder, redis_url=store.url, replicas=3, settings=settings) as running:
        yield running


@contextmanager
def leaving(installation: Installation, replica: Replica) -> Iterator[None]:
    """Do what a Service does for a replica that has become unready: new connections go to the others."""
    wait_for(lambda: replica.health("/readyz")[0] == 503, what="the replica to be unready")
    installation.balancer.ports = tuple(other.port for other in installation.replicas if other is not replica)
    try:
        yield
    finally:
        installation.balancer.ports = tuple(other.port for other in installation.replicas)


def test_a_rolling_restart_fails_no_call(plane: ControlPlane, installation: Installation) -> None:
    """Each server in turn gets SIGTERM under load, drains, exits with 0 in time, and comes back."""
    before = failed_calls(plane)
    with Load(plane, BUSY) as load:
        for replica in installation.replicas:
            started = time.monotonic()
            replica.process.signal(signal.SIGTERM)
            with leaving(installation, replica):
                assert replica.process.wait(DRAIN_SECONDS + 15) == 0
                assert time.monotonic() - started >= DRAIN_SECONDS
                replica.process.start()
            load.wait_for(50)
    assert load.failures == {}
    assert failed_calls(plane) == before


def test_a_draining_server_still_serves(plane: ControlPlane, installation: Installation) -> None:
    """It says that it is not ready, stays alive, and answers what still comes."""
    (replica, *_) = installation.replicas
    replica.process.signal(signal.SIGTERM)
    with leaving(installation, replica):
        status, reasons = replica.health("/readyz")
        assert (status, "draining" in reasons) == (503, True)
        assert replica.health("/livez")[0] == 200
        installation.balancer.ports = (replica.port,)
        plane.kubectl("create", "-n", BUSY, "-f", "-", input=json.dumps(run("while-draining")))
        assert replica.process.wait() == 0
        replica.process.start()


def test_a_second_signal_ends_at_once(installation: Installation) -> None:
    """Whoever asks twice does not wait for the drain."""
    (replica, *_) = installation.replicas
    replica.process.signal(signal.SIGTERM)
    with leaving(installation, replica):
        replica.process.signal(signal.SIGTERM)
        assert replica.process.wait(DRAIN_SECONDS) == -signal.SIGTERM
        replica.process.start()


def test_an_outage_below_makes_nobody_unready(plane: ControlPlane, installation: Installation, store: Valkey) -> None:
    """What has been seen once stays seen: without Redis and API server every replica is ready and alive as before."""
    store.freeze()
    plane.kill("apiserver")
    try:
        for replica in installation.replicas:
            assert replica.health("/readyz")[0] == 200
            assert replica.health("/livez")[0] == 200
    finally:
        store.thaw()
        plane.restart("apiserver")


def test_a_server_is_not_ready_before_it_has_seen_everything(
    plane: ControlPlane, installation: Installation, store: Valkey
) -> None:
    """Without Redis it lives, is not ready, and says what it waits for; then it becomes ready."""
    store.freeze()
    arguments = (f"--redis-url={store.url}", "--drain=0s", *installation._issue(9))
    late = installation._program("serve", 9, plane.kubeconfig, arguments, {})
    try:
        wait_for(lambda: late.process.running and quietly(late, "/livez") == 200, what="it to live")
        wait_for(lambda: "start: " not in late.health("/readyz")[1], what="it to be set up")
        status, reasons = late.health("/readyz")
        assert status == 503
        assert "Redis: " in reasons
        store.thaw()
        late.process.wait_ready()
    finally:
        store.thaw()
        late.process.kill()


def quietly(replica: Replica, path: str) -> int:
    """Ask the health port of a server that may not be listening yet."""
    try:
        return replica.health(path)[0]
    except OSError:
        return 0


@pytest.mark.parametrize("shown", ["nothing", "another CA", "another name"])
def test_a_stranger_gets_no_answer(plane: ControlPlane, installation: Installation, shown: str) -> None:
    """Whoever is not the API server meets a TLS connection that does not come about, and no HTTP at all."""
    (replica, *_) = installation.replicas
    context = installation.trust
    if shown == "another CA":
        pair = plane._site.authority.issue("stranger", common_name="kube-apiserver")
        context.load_cert_chain(pair.certificate, pair.key)
    elif shown == "another name":
        pair = plane._site.webhook_authority.issue("stranger", common_name="stranger")
        context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_connection(("127.0.0.1", replica.port), timeout=10) as plain:
        received = b""
        # TLS 1.3 lets a client think that it is through before the server has looked at its certificate.
        with (
            contextlib.suppress(ssl.SSLError, ConnectionError),
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = secure.recv(1)
    assert received == b""


def test_the_api_server_is_let_in(plane: ControlPlane, installation: Installation) -> None:
    """By the certificate that it shows to webhooks, and so is whoever has one of that CA and name."""
    plane.kubectl("create", "-n", BUSY, "-f", "-", input=json.dumps(run("let-in")))
    (replica, *_) = installation.replicas
    pair = plane._site.webhook_authority.issue("twin", common_name="kube-apiserver")
    context = installation.trust
    context.load_cert_chain(pair.certificate, pair.key)
    with (
        socket.create_connection(("127.0.0.1", replica.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert secure.recv(8) == b"HTTP/1.1"


def test_without_any_server_the_cluster_goes_on(plane: ControlPlane, installation: Installation) -> None:
    """Deployments are written, runs and namespaces deleted; runs with a delivery are refused, and it says by whom."""
    gone = "gone"
    plane.kubectl("create", "namespace", gone)
    plane.apply([secret("database", password="one")], namespace=gone)
    for name in ("one", "two"):
        plane.kubectl("create", "-n", gone, "-f", "-", input=json.dumps(run(f"d-{name}", name=name)))
    for replica in installation.replicas:
        replica.process.kill()
    try:
        plane.apply([deployment(secrets="database", replicas=0)], namespace=gone)
        assert template_annotations(plane, gone) == {}
        refused = plane.kubectl("create", "-n", gone, "-f", "-", input=json.dumps(run("d-three")), check=False)
        assert refused.returncode == 1
        assert "mutate-runs.rollonce.proompteng.ai" in refused.stderr
        plane.kubectl("create", "-n", gone, "-f", "-", input=json.dumps(run(None)))
        plane.kubectl("delete", RUNS, "one", "-n", gone, "--timeout=30s")
        plane.kubectl("delete", "namespace", gone, "--timeout=60s")
        own = deployment("rollonce", replicas=0, secrets="database")
        own["metadata"]["labels"] = {"app.kubernetes.io/name": "rollonce"}
        plane.apply([own], namespace=BUSY)
    finally:
        for replica in installation.replicas:
            replica.process.spawn()
        for replica in installation.replicas:
            replica.process.wait_ready()
    plane.kubectl("create", "-n", BUSY, "-f", "-", input=json.dumps(run("back-again")))
