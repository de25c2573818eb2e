"""One server process with the memory of a pod, beside honest traffic through the API server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.hostile.cage import caged
from tests.hostile.target import Honest, Target
from tests.rollonce import Installation
from tests.valkey import Valkey


@pytest.fixture(scope="package")
def target(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Start the server and register it."""
    folder = tmp_path_factory.mktemp("hostile")
    with (
        Valkey.start(folder / "store") as store,
        Installation.start(plane, folder / "servers", redis_url=store.url) as installation,
        caged(installation.replicas[0].process.pid),
    ):
        yield Target(installation)


@pytest.fixture(scope="package")
def honest(plane: ControlPlane, target: Target) -> Iterator[Honest]:
    """Let twenty writers write until the end; none of their writes may fail."""
    namespace = f"honest-{uuid.uuid4().hex[:8]}"
    plane.kubectl("create", "namespace", namespace)
    with Honest(target.installation, namespace) as traffic:
        yield traffic
    plane.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(autouse=True)
def _traffic_goes_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check after each test with the target that the same process serves, and that no honest write failed."""
    if "target" not in request.fixturenames:
        yield
        return
    traffic: Honest = request.getfixturevalue("honest")
    target: Target = request.getfixturevalue("target")
    pid = target.pid
    traffic.failures.clear()
    logged = len(target.log())
    yield
    traffic.wait_for(20)
    assert target.replica.process.running
    assert target.pid == pid
    assert not traffic.failures
    assert "defect" not in target.log()[logged:]
