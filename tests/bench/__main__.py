"""`python -m tests.bench NAME [ARGUMENTS]`; without a name it lists the measurements."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from tests import bench

_NOT_MEASUREMENTS = {"__main__", "load"}


def main(arguments: list[str]) -> int:
    """Run one measurement."""
    names = sorted(
        module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in _NOT_MEASUREMENTS
    )
    if not arguments or arguments[0] not in names:
        for name in names:
            text = importlib.import_module(f"tests.bench.{name}").__doc__ or ""
            print(f"{name:12} {text.splitlines()[0]}")
        return 2 if arguments else 0
    code = importlib.import_module(f"tests.bench.{arguments[0]}").main(arguments[1:])
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
