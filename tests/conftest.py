"""Fixtures for all tests: a shared control plane, a new namespace, and a new Valkey."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.controlplane import BuildError, ControlPlane
from tests.controlplane.build import ensure
from tests.valkey import Valkey

# Property tests check results, not time: the machine can be busy.
settings.register_profile("default", deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("default")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane before the first test that needs it, outside of test timeouts, and show the progress."""
    if session.config.option.collectonly or not any(map(_needs_control_plane, session.items)):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            ensure()
    except BuildError as error:
        pytest.exit(f"the control plane could not be built: {error}", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start the control plane that all tests share; a test that breaks a component starts its own."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """Create a namespace in which pods can be created, and delete it afterwards without waiting."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    plane.kubectl("create", "namespace", name)
    plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s")
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """Start a Valkey for one test that keeps acknowledged writes (append-only file, synchronized each second)."""
    with Valkey.start(tmp_path / "valkey") as running:
        yield running


def _needs_control_plane(item: pytest.Item) -> bool:
    return "plane" in getattr(item, "fixturenames", ()) or item.get_closest_marker("cluster") is not None
