"""`python -m tests.dev up` and `python -m tests.dev demo`."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    if arguments not in (["up"], ["demo"]):
        print("usage: python -m tests.dev up|demo", file=sys.stderr)
        return 2
    try:
        # Imported here, because the import takes a second, and Ctrl-C during it must be handled too.
        from tests.controlplane.errors import ControlPlaneError  # noqa: PLC0415
        from tests.dev import program  # noqa: PLC0415

        try:
            return program.up() if arguments == ["up"] else program.demo()
        except ControlPlaneError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
