"""`make package`: the chart as a file."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import Object, Render
from tests.controlplane import ControlPlane
from tests.rollonce import ROOT

pytestmark = pytest.mark.cluster


def test_the_package_is_the_chart(plane: ControlPlane, render: Render, tmp_path: Path) -> None:
    """It has the version of the project, and renders what the folder renders."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    # The environment in which this runs is ready, whatever its place.
    argv = ["make", "package", "-o", ".venv/ready", f"BIN={Path(sys.executable).parent}", f"DIST={tmp_path}"]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=60)
    package = tmp_path / f"rollonce-{version}.tgz"
    assert list(tmp_path.iterdir()) == [package]
    metadata: Object = yaml.safe_load(plane.helm("show", "chart", package).stdout)
    assert (metadata["version"], metadata["appVersion"]) == (version, version)
    everything = ("--set", "metrics.dashboard.enabled=true,metrics.prometheusRule.enabled=true")
    done = plane.helm("template", "rollonce", package, "--namespace", "rollonce", *everything)
    assert [document for document in yaml.safe_load_all(done.stdout) if document] == render(*everything)
