"""What every test may ask for: a control plane, a namespace of its own, a Valkey of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.controlplane import BuildError, ControlPlane
from tests.controlplane.build import ensure
from tests.valkey import Valkey

# A property is about what comes out, not about how long it took on a busy machine.
settings.register_profile("default", deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("default")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane before the first test that needs it: no test's time runs, and progress is seen."""
    if session.config.option.collectonly or not any(map(_drives_a_plane, session.items)):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            ensure()
    except BuildError as error:
        pytest.exit(f"the control plane could not be built: {error}", returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane that all tests share: who breaks a part of it starts one of his own."""
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """A fresh namespace in which pods can be created; it is deleted afterwards, without waiting."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    plane.kubectl("create", "namespace", name)
    plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s")
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of its own that keeps what it acknowledged (append-only file, synchronized each second)."""
    with Valkey.start(tmp_path / "valkey") as running:
        yield running


def _drives_a_plane(item: pytest.Item) -> bool:
    return "plane" in getattr(item, "fixturenames", ()) or item.get_closest_marker("cluster") is not None
