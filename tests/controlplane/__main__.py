"""`python -m tests.controlplane build` builds the control plane's programs; `… paths` prints their paths."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from tests.controlplane.build import BuildConfig, ensure
from tests.controlplane.errors import ControlPlaneError


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for an error, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.controlplane", description=__doc__)
    parser.add_argument("command", choices=("build", "paths"))
    parser.add_argument(
        "--given",
        type=Path,
        metavar="FOLDER",
        help="take programs that exist in this folder (default: KUBEBUILDER_ASSETS) and build only the rest",
    )
    options = parser.parse_args(arguments)
    build_config = BuildConfig.of_environment(options.given)
    try:
        programs = ensure(build_config) if options.command == "build" else build_config.programs()
    except ControlPlaneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; finished programs are kept", file=sys.stderr)
        return 130
    for name, path in dataclasses.asdict(programs).items():
        print(f"{name.replace('_', '-'):24}{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
