"""`python -m tests.dev up` and `python -m tests.dev demo`."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run the command that was given."""
    if arguments not in (["up"], ["demo"]):
        print("usage: python -m tests.dev up|demo", file=sys.stderr)
        return 2
    try:
        # Imported here, since that takes a second in which Ctrl-C may come.
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
