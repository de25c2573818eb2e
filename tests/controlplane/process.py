"""One process under test: start, check, freeze, kill and restart it, and never leave it running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controlplane.errors import ProcessError, tail
from tests.controlplane.supervise import Supervisor, kill_group

_POLL_SECONDS = 0.02


class ManagedProcess:
    """A program with its log, its readiness check and its faults.

    It runs in its own session, so that a Ctrl-C in the terminal does not reach it, and it is killed with all its
    descendants when this process ends in any way. Not for use from several threads at once.

    Args:
        name: Name in messages.
        argv: The program and its arguments.
        log: File to which standard output and standard error are appended; its folder is created.
        env: The whole environment; None for the environment of this process.
        cwd: The working folder; None for that of this process.
        ready: Called until it returns True; an OSError counts as not ready. None: ready at once.
        timeout: Seconds that becoming ready may take.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Callable[[], bool] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        self._env = env
        self._cwd = cwd
        self._ready = ready
        self._timeout = timeout
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the program and wait until it is ready.

        Raises:
            ProcessError: It runs already, ended, or was not ready in time; the message has the end of its log.
        """
        self.spawn()
        self.wait_ready()
        return self

    def spawn(self) -> Self:
        """Start the program without waiting until it is ready, so that several can start at the same time.

        Raises:
            ProcessError: It runs already.
        """
        if self.running:
            raise ProcessError(f"{self.name} is running already, as process {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._popen = Supervisor.shared().spawn(self.argv, output=output, env=self._env, cwd=self._cwd)
        return self

    def wait_ready(self) -> None:
        """Wait until the readiness check passes; kill the program if it does not in time.

        Raises:
            ProcessError: The program ended or was not ready in time; the message has the end of its log.
        """
        deadline = time.monotonic() + self._timeout
        while not self._is_ready():
            if not self.running:
                raise self._failure(f"ended with code {self.returncode} before it was ready")
            if time.monotonic() > deadline:
                self.kill()
                raise self._failure(f"was not ready after {self._timeout:.0f} s")
            time.sleep(_POLL_SECONDS)

    @property
    def pid(self) -> int:
        """The id of the process and of its process group.

        Raises:
            ProcessError: It was never started.
        """
        return self._started().pid

    @property
    def running(self) -> bool:
        """Whether the process exists, frozen or not."""
        if self._popen is None:
            return False
        if self._popen.returncode is None and self._popen.poll() is not None:
            self._kill_descendants(self._popen.pid)
        return self._popen.returncode is None

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the number of the signal that ended it; None while it runs or before its start."""
        return self._popen.returncode if self.running and self._popen else self._last_code()

    def freeze(self) -> None:
        """Stop the process by SIGSTOP, and return when all its threads have stopped.

        Raises:
            ProcessError: It does not run.
        """
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let a frozen process continue (SIGCONT).

        Raises:
            ProcessError: It does not run.
        """
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process and its descendants by SIGKILL, also if it is frozen; do nothing if it has ended."""
        if self.running:
            kill_group(self.pid, signal.SIGKILL)
            self.wait()

    def terminate(self, timeout: float = 10.0) -> int | None:
        """End the process by SIGTERM, or by SIGKILL if that takes too long, and return its exit code.

        Args:
            timeout: Seconds until SIGKILL; the exit code is then -9.
        """
        if self.running:
            kill_group(self.pid, signal.SIGTERM)
            kill_group(self.pid, signal.SIGCONT)  # a frozen process handles SIGTERM only after this
            try:
                self.wait(timeout)
            except ProcessError:
                self.kill()
        return self.returncode

    def restart(self) -> None:
        """Kill the process if it runs, start it again with the same arguments, and wait until it is ready.

        Raises:
            ProcessError: As of `start`.
        """
        self.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its descendants.

        Raises:
            ProcessError: It does not run.
        """
        if not self.running or not kill_group(self.pid, number):
            raise ProcessError(f"{self.name} is not running, so it cannot get {number.name}")

    def wait(self, timeout: float = 30.0) -> int:
        """Wait until the process has ended, and return its exit code.

        Raises:
            ProcessError: It was never started, or still runs after `timeout` seconds.
        """
        try:
            code = self._started().wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._failure(f"still runs after {timeout:.0f} s") from None
        self._kill_descendants(self.pid)
        return code

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of its log."""
        return tail(self.log, lines)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    def _is_ready(self) -> bool:
        if not self.running:
            return False
        try:
            return self._ready is None or self._ready()
        except OSError:
            return False

    def _started(self) -> subprocess.Popen[bytes]:
        if self._popen is None:
            raise ProcessError(f"{self.name} was never started")
        return self._popen

    def _kill_descendants(self, pid: int) -> None:
        kill_group(pid, signal.SIGKILL)  # its descendants end with it
        Supervisor.shared().forget(pid)

    def _last_code(self) -> int | None:
        return None if self._popen is None else self._popen.returncode

    def _failure(self, what: str) -> ProcessError:
        return ProcessError(f"{self.name} {what}; its log {self.log} ends with:\n{self.log_tail()}")
