"""One installation with self-managed certificates, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.certificates.helpers import BUSY, HOME, LEAF_SECONDS, MANIFESTS
from tests.rollonce import Installation, SelfManaged
from tests.valkey import Valkey


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start a control plane for this folder only, so that its metrics count only these webhooks."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        for namespace in (HOME, BUSY):
            running.kubectl("create", "namespace", namespace)
        running.kubectl("apply", "-f", MANIFESTS / "rbac.yaml")
        running.kubectl("apply", "-k", MANIFESTS / "access", "-n", BUSY)
        yield running


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Start the deduplication store."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="package")
def installation(
    plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Start three servers and two controllers at the same moment, with lifetimes of seconds.

    They have exactly the rights that the manifests give them.
    """
    settings = (f"--tls-leaf-lifetime={LEAF_SECONDS}s", "--tls-settle=1s", "--tls-margin=1s")
    controller = plane.kubeconfig_for("rollonce-controller", HOME)
    with Installation.start(
        plane,
        tmp_path_factory.mktemp("servers"),
        redis_url=store.url,
        replicas=3,
        kubeconfig=plane.kubeconfig_for("rollonce", HOME),
        settings=("--drain=2s", f"--dedupe-namespaces={BUSY}"),
        managed=SelfManaged(
            HOME,
            settings,
            controllers=2,
            kubeconfig=controller,
            controller_settings=(f"--dedupe-namespaces={BUSY}", f"--rollout-checksums-watch-namespaces={BUSY}"),
        ),
    ) as running:
        yield running
