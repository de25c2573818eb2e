"""Child processes that end when their parent ends in any way.

A process that starts servers can be killed before it stops them. So each parent has one supervisor: a small process
in its own session that reads from a pipe whose only other end the parent holds. When the parent ends in any way, the
kernel closes that end, and the supervisor kills the remaining children and removes the temporary folders.
(`PR_SET_PDEATHSIG` does not work here: it fires when the starting *thread* ends, see prctl(2).)

Each child writes its own process id to the same pipe before it executes its program. So no child exists without a
message to the supervisor.

A process that is forked without executing another program holds the parent's end too: children live until both end.

The lines of the pipe: `child PID`, `gone PID`, `folder PATH`, `kept PATH`.
This file is also run as a program, with the standard library only: it must not import anything else.
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
"""Isolated mode without site-packages starts in about 20 ms."""

_REPORT_AND_EXEC = 'echo "child $$" >&0 && exec "$0" "$@" </dev/null'
"""The child's standard input is the supervisor's pipe, until the exec closes it."""

_REMOVAL_SECONDS = 10.0


class Supervisor:
    """The parent's end of the pipe."""

    _instance: ClassVar[Supervisor | None] = None

    def __init__(self) -> None:
        self._parent = os.getpid()
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
        """Return the supervisor of this process, which is started at first use and again after a fork."""
        if cls._instance is None or cls._instance._parent != os.getpid():
            cls._instance = cls()
        return cls._instance

    def spawn(
        self, argv: Sequence[str | Path], *, output: IO[bytes], env: Mapping[str, str] | None, cwd: Path | None
    ) -> subprocess.Popen[bytes]:
        """Start a child in its own session, which is killed with all its descendants when this process ends.

        Args:
            argv: The program and its arguments. If the program does not exist, the exit code is 127.
            output: File of standard output and standard error.
            env: The whole environment, or None for that of this process.
            cwd: The working folder, or None for that of this process.
        """
        return subprocess.Popen(
            ["/bin/sh", "-c", _REPORT_AND_EXEC, *map(str, argv)],
            stdin=self._pipe,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )

    def forget(self, pid: int) -> None:
        """Report that a child has ended: its id can be used again."""
        self._send(f"gone {pid}")

    def adopt_folder(self, folder: Path) -> None:
        """Remove a folder when this process ends, unless it is released before."""
        self._send(f"folder {folder}")

    def release_folder(self, folder: Path) -> None:
        """Keep a folder that was adopted."""
        self._send(f"kept {folder}")

    def _send(self, line: str) -> None:
        # One write of less than PIPE_BUF bytes is never mixed with a child's: pipe(7).
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe.fileno(), f"{line}\n".encode())

    def _close(self) -> None:
        if self._parent == os.getpid():
            self._pipe.close()
            self._process.wait()


def kill_group(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a child and its descendants; return False if none exists."""
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
        signal.signal(_number, signal.SIG_IGN)  # it ends only when its parent has ended
    _supervise(sys.stdin)
