"""Helpers of the certificate tests: the command line, the webhook configurations, and further servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from certs.bundle import Bundle, parse_bundle
from tests.certs.cluster import bundles
from tests.controlplane import ControlPlane
from tests.controlplane.commands import Result, run
from tests.controlplane.polling import wait_for
from tests.rollonce import ROOT, Installation, Replica
from tests.valkey import Valkey

HOME = "rollonce"
SECRET = "rollonce-ca"
#: The namespace in which the load is created: one for all tests, because deleting its objects would be a load too.
BUSY = "busy"
LEAF_SECONDS = 10
MANIFESTS = ROOT / "deploy" / "manifests"


def certs(installation: Installation, *arguments: str, check: bool = True) -> Result:
    """Run `rollonce certs` as an administrator, with the addresses of the servers."""
    (command, *rest) = arguments
    replicas = [f"--replica=127.0.0.1:{replica.port}" for replica in installation.replicas]
    settings = [f"--kubeconfig={installation.plane.kubeconfig}", *installation.certificate_settings()]
    return run(
        [sys.executable, "-m", "webhook", "certs", command, *rest, *replicas, *settings],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=None,
        check=check,
        timeout=60,
    )


def published(plane: ControlPlane) -> set[Bundle]:
    """Return the different bundles in the webhook configurations."""
    found = [bundles(plane, kind, "rollonce") for kind in ("mutating", "validating")]
    return {parse_bundle(pem, what="caBundle") for by_webhook in found for pem in by_webhook.values()}


def settled(plane: ControlPlane) -> Bundle | None:
    """Return the bundle of every webhook if it is the same everywhere and has one CA; None otherwise."""
    (first, *others) = published(plane)
    return first if not others and len(first.certificates) == 1 else None


@contextmanager
def another(installation: Installation, store: Valkey, *arguments: str) -> Iterator[Replica]:
    """Start one more server, as an administrator, without waiting until it is ready."""
    settings = (f"--redis-url={store.url}", "--drain=0s", *installation.certificate_settings(), *arguments)
    server = installation._program("serve", 9, installation.plane.kubeconfig, settings, {})
    try:
        yield server
    finally:
        server.process.kill()


def waits_for(server: Replica, reason: str) -> None:
    """Wait until `/readyz` of a server shows this reason."""

    def shows() -> bool:
        try:
            status, reasons = server.health("/readyz")
        except OSError:
            return False
        return status == 503 and reason in reasons

    wait_for(shows, what=f"a server that shows {reason!r}")
