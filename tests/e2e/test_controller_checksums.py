"""The controller's side of checksums: with nobody but it, since no admission server takes part here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.e2e.controllers import Controller, Workloads
from tests.e2e.objects import config_map, deployment, secret
from tests.e2e.test_checksums import by_hand

pytestmark = pytest.mark.cluster

KEY = "checksum/secret.db"


def test_a_secret_changes_and_the_deployment_rolls(plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """The thinnest of all: one Secret, one Deployment, one rollout for each change."""
    plane.apply([secret("db", password="one"), deployment(secrets="db")], namespace=namespace)
    shop = Workloads(plane, namespace)
    with Controller.start(plane, tmp_path, namespace):
        shop.wait_for_checksums(KEY, by_hand(plane, "secret", "db", namespace))
        plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=30s")
        plane.apply(secret("db", password="two"), namespace=namespace)
        shop.wait_for_checksums(KEY, by_hand(plane, "secret", "db", namespace))
        plane.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=30s")
    assert shop.revisions() == {"web": 3}
