"""The installation for test modules that do not break it.

It is stopped after each module, because the tests of the controller use the same control plane without webhooks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.controlplane import ControlPlane
from tests.rollonce import Installation
from tests.valkey import Valkey


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Start the deduplication store of the installation."""
    with Valkey.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def installation(
    plane: ControlPlane, store: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Start two server processes behind one address, registered with the shared control plane."""
    with Installation.start(plane, tmp_path_factory.mktemp("servers"), redis_url=store.url, replicas=2) as running:
        yield running
