"""Run commands such as kubectl to their end."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.errors import CommandError


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a command.

    Attributes:
        argv: The command.
        returncode: Its exit code.
        stdout: Its standard output.
        stderr: Its standard error.
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str | Path],
    *,
    input: str | None,  # noqa: A002 - the name is that of subprocess.run
    env: Mapping[str, str],
    check: bool,
    timeout: float,
) -> Result:
    """Run a command to its end.

    Args:
        argv: The command.
        input: Its standard input, or None for an empty one.
        env: Its whole environment.
        check: Whether an exit code other than 0 is an error.
        timeout: Seconds that it may take.

    Raises:
        CommandError: It failed (with `check`), or took too long and was killed.
    """
    words = tuple(map(str, argv))
    try:
        done = subprocess.run(
            words, input=input or "", capture_output=True, text=True, env=env, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        stderr = (error.stderr or b"") if isinstance(error.stderr, bytes) else b""
        raise CommandError(
            f"`{shlex.join(words)}` was killed after {timeout:.0f} s: {stderr.decode(errors='replace').strip()}"
        ) from None
    if check and done.returncode != 0:
        raise CommandError(f"`{shlex.join(words)}` ended with code {done.returncode}: {done.stderr.strip()}")
    return Result(words, done.returncode, done.stdout, done.stderr)
