"""An installation for the tests of a module that leave it whole.

It goes with the module: the tests of the controller share the control plane, and want no webhook that does their work.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.rollonce import Installation
from tests.valkey import Valkey


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The deduplication store of the installation."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def installation(
    plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Two server processes behind one address, registered with the shared control plane."""
    with Installation.start(plane, tmp_path_factory.mktemp("servers"), redis_url=store.url, replicas=2) as running:
        yield running
