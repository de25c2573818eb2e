"""Children that never outlive their starter, however it ends.

A process that starts servers can be killed before it stops them. Each starter therefore has one small companion: the
supervisor, a process in a session of its own that reads from a pipe whose only other end the starter holds. When the
starter ends in any way, the kernel closes that end, and the supervisor kills what is left and removes the temporary
folders.
(`PR_SET_PDEATHSIG` is no substitute: it fires when the starting *thread* ends, see prctl(2).)

Each child reports its own process id, on that same pipe, before it becomes the program it is meant to be. So there is
no moment in which a child exists that the supervisor will not hear of.

A process that is forked without becoming another program holds the starter's end too: children last until both end.

The lines of the pipe: `child PID`, `gone PID`, `folder PATH`, `kept PATH`.
This file is also run as a program, with nothing but the standard library: keep its imports at that.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar

_PYTHON = (sys.executable, "-I", "-S")
"""Isolated and without site-packages: starts in about 20 ms."""

_REPORT_AND_BECOME = 'echo "child $$" >&0 && exec "$0" "$@" </dev/null'
"""The child's standard input is the supervisor's pipe, until the exec closes it."""

_REMOVAL_SECONDS = 10.0


class Supervisor:
    """The starter's side of the pipe."""

    _mine: ClassVar[Supervisor | None] = None

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [*_PYTHON, __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C in the terminal must not reach it
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        atexit.register(self._close)

    @classmethod
    def shared(cls) -> Supervisor:
        """Return the one supervisor of this process, started at first use (and anew after a fork)."""
        if cls._mine is None or cls._mine._owner != os.getpid():
            cls._mine = cls()
        return cls._mine

    def spawn(
        self, argv: Sequence[str | Path], *, output: IO[bytes], env: Mapping[str, str] | None, cwd: Path | None
    ) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own, which is killed with all its descendants when this process ends.

        Args:
            argv: The program and its arguments. A program that does not exist ends with code 127.
            output: Where standard output and standard error go.
            env: The whole environment, or None for ours.
            cwd: The working folder, or None for ours.
        """
        return subprocess.Popen(
            ["/bin/sh", "-c", _REPORT_AND_BECOME, *map(str, argv)],
            stdin=self._pipe,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )

    def forget(self, pid: int) -> None:
        """Say that a child was waited for: its id may soon be somebody else's."""
        self._tell(f"gone {pid}")

    def adopt_folder(self, folder: Path) -> None:
        """Have a folder removed when this process ends without having released it."""
        self._tell(f"folder {folder}")

    def release_folder(self, folder: Path) -> None:
        """Leave a folder alone again."""
        self._tell(f"kept {folder}")

    def _tell(self, line: str) -> None:
        # One write of less than PIPE_BUF bytes is never mixed with a child's: pipe(7).
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe.fileno(), f"{line}\n".encode())

    def _close(self) -> None:
        if self._owner == os.getpid():
            self._pipe.close()
            self._process.wait()


def kill_group(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a child and its descendants; False if there are none any more."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a zombie
        return False
    return True


def _supervise(lines: Iterable[str]) -> None:
    children: set[int] = set()
    folders: set[str] = set()
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        match word:
            case "child":
                children.add(int(rest))
            case "gone":
                children.discard(int(rest))
            case "folder":
                folders.add(rest)
            case "kept":
                folders.discard(rest)
    for pid in children:
        kill_group(pid, signal.SIGKILL)
    for folder in folders:
        _remove(folder)


def _remove(folder: str) -> None:
    # A process that is being killed may still add a file while its folder is emptied.
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while os.path.exists(folder) and time.monotonic() < deadline:  # noqa: PTH110 - no pathlib: starts in half the time
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.02)


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_number, signal.SIG_IGN)  # only the end of its starter ends it
    _supervise(sys.stdin)
