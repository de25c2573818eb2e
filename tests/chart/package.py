"""Package the chart: `python -m tests.chart.package FOLDER`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.chart.generation import CHART
from tests.controlplane.build import BuildConfig, ensure
from tests.controlplane.errors import BuildError


def helm() -> Path:
    """Return the helm that the tests have built, or the one that is installed; without both, build it.

    Raises:
        BuildError: It could not be built.
    """
    built = BuildConfig.of_environment().path("helm")
    if built.is_file():
        return built
    installed = shutil.which("helm")
    return Path(installed) if installed else ensure().helm


def main(arguments: list[str]) -> int:
    """Write the package into a folder, and return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m tests.chart.package FOLDER", file=sys.stderr)
        return 2
    try:
        argv = [str(helm()), "package", str(CHART), f"--destination={arguments[0]}"]
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
