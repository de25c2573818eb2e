"""A connection to the shared control plane, and a name for webhook configurations."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.certs.cluster import RealApi, connected
from tests.controlplane import ControlPlane


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[RealApi]:
    """Connect as the administrator."""
    async with connected(plane) as connection:
        yield connection


@pytest.fixture
def name(plane: ControlPlane) -> Iterator[str]:
    """Return a name for webhook configurations, which are deleted afterwards."""
    unique = f"hooks-{uuid.uuid4().hex[:8]}"
    yield unique
    for kind in ("mutating", "validating"):
        plane.kubectl("delete", f"{kind}webhookconfiguration", unique, "--ignore-not-found")
