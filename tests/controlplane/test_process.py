"""A managed process is started, checked and stopped as documented, and leaves nothing behind."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.controlplane import ManagedProcess, ProcessError, wait_for
from tests.controlplane.liveness import is_alive

READY_FILE = "import pathlib, signal; pathlib.Path('ready').touch(); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('ready', 'w'); signal.pause()"
PARENT = (
    "import subprocess, signal; child = subprocess.Popen(['sleep', '1000']);"
    "open('child', 'w').write(str(child.pid)); open('ready', 'w'); signal.pause()"
)


def python(folder: Path, code: str, *, timeout: float = 30) -> ManagedProcess:
    """Return a Python program in a folder, which is ready when it has written the file `ready`."""
    return ManagedProcess(
        "example",
        [sys.executable, "-c", code],
        log=folder / "example.log",
        cwd=folder,
        ready=(folder / "ready").exists,
        timeout=timeout,
    )


def test_a_process_runs_from_start_to_terminate(tmp_path: Path) -> None:
    """After `start` the process is ready, and after `terminate` it has ended with the code of the signal."""
    process = python(tmp_path, READY_FILE)
    with process.start():
        assert is_alive(process.pid)
    assert not process.running
    assert process.returncode == -signal.SIGTERM
    assert not is_alive(process.pid)


def test_a_process_has_its_environment_and_log(tmp_path: Path) -> None:
    """The process has the given environment only, and both output streams are in the log."""
    code = "import os, sys; print(os.environ['COLOUR']); print('HOME' in os.environ, file=sys.stderr)"
    process = ManagedProcess("example", [sys.executable, "-c", code], log=tmp_path / "a" / "log", env={"COLOUR": "red"})
    assert process.start().wait() == 0
    assert set(process.log_tail().split()) == {"red", "False"}


def test_a_process_that_ends_before_it_is_ready_is_an_error(tmp_path: Path) -> None:
    """The error has the exit code, the path of the log and its end."""
    process = python(tmp_path, "raise SystemExit('no such setting')")
    with pytest.raises(ProcessError, match=r"ended with code 1 .*example\.log ends with:\nno such setting"):
        process.start()


def test_a_process_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    """A start that fails leaves no process."""
    process = python(tmp_path, "import signal; signal.pause()", timeout=0.5)
    with pytest.raises(ProcessError, match="was not ready"):
        process.start()
    assert not process.running


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    """The error has the message of the shell about the program."""
    process = ManagedProcess("example", ["/no/such/program"], log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(ProcessError, match=r"ended with code 127 .*(?s:.)*/no/such/program"):
        process.start()


def test_freeze_stops_and_thaw_continues_a_process(tmp_path: Path) -> None:
    """When `freeze` returns, the process has stopped, and after `thaw` it continues."""
    code = "import itertools\nfor n in itertools.count(): open('ready', 'w').write(str(n))"
    with python(tmp_path, code).start() as process:
        process.freeze()
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        assert stat.rpartition(")")[2].split()[0] == "T"
        before = (tmp_path / "ready").read_text()
        process.thaw()
        wait_for(lambda: (tmp_path / "ready").read_text() not in {"", before}, what="a further count")


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_frozen_process_can_be_ended(tmp_path: Path, how: str) -> None:
    """`kill` and `terminate` end a frozen process."""
    process = python(tmp_path, READY_FILE).start()
    process.freeze()
    getattr(process, how)()
    assert process.returncode == {"kill": -signal.SIGKILL, "terminate": -signal.SIGTERM}[how]


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """`terminate` sends SIGKILL after its timeout."""
    process = python(tmp_path, STUBBORN).start()
    assert process.terminate(timeout=0.2) == -signal.SIGKILL


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_descendants_end_with_their_process(tmp_path: Path, how: str) -> None:
    """When a process ends, the processes that it has started are killed."""
    process = python(tmp_path, PARENT).start()
    child = int((tmp_path / "child").read_text())
    assert is_alive(child)
    getattr(process, how)()
    wait_for(lambda: not is_alive(child), what="the grandchild to end")


def test_restart_starts_a_new_process(tmp_path: Path) -> None:
    """`restart` works on a running process and on a killed one."""
    with python(tmp_path, READY_FILE).start() as process:
        first = process.pid
        process.restart()
        second = process.pid
        process.kill()
        assert process.returncode == -signal.SIGKILL
        process.restart()
        assert len({first, second, process.pid}) == 3
        assert not is_alive(first)
        assert not is_alive(second)


def test_misuse_is_an_error(tmp_path: Path) -> None:
    """Each call at the wrong time raises an error that says why."""
    process = python(tmp_path, READY_FILE)
    with pytest.raises(ProcessError, match="example was never started"):
        _ = process.pid
    process.kill()
    with process.start():
        with pytest.raises(ProcessError, match="is running already"):
            process.start()
        with pytest.raises(ProcessError, match="still runs after 0 s"):
            process.wait(timeout=0.1)
    with pytest.raises(ProcessError, match="not running, so it cannot get SIGSTOP"):
        process.freeze()


def test_a_process_lives_longer_than_the_thread_that_started_it(tmp_path: Path) -> None:
    """A process continues when the thread that started it has ended."""
    process = python(tmp_path, READY_FILE)
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    with process:
        assert process.running


PARENT_PROGRAM = """
import os, pathlib, sys
from tests.controlplane import ManagedProcess
from tests.controlplane.supervise import Supervisor
folder = pathlib.Path("kept")
folder.mkdir()
Supervisor.shared().adopt_folder(folder.absolute())
processes = [ManagedProcess("sleep", ["sleep", "1000"], log=folder / "log").start() for _ in range(3)]
processes[0].freeze()
pathlib.Path("pids").write_text(" ".join(str(process.pid) for process in processes))
pathlib.Path("ready").touch()
{ending}
"""


@pytest.mark.parametrize(
    "ending",
    [
        "os.kill(os.getpid(), 9)",
        "os.abort()",
        "os._exit(0)",
        "raise SystemExit(0)",
        "raise RuntimeError",
        "os.execvp('true', ['true'])",
    ],
)
def test_nothing_remains_when_the_parent_ends(tmp_path: Path, ending: str) -> None:
    """When the parent process ends in any way, its children, frozen ones too, and its adopted folders are removed."""
    repository = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(repository)!r})\n" + PARENT_PROGRAM.format(ending=ending)
    python(tmp_path, code).spawn().wait()
    assert (tmp_path / "ready").exists()
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_for(lambda: not any(map(is_alive, pids)), what="the children to end")
    wait_for(lambda: not (tmp_path / "kept").exists(), what="the folder to be removed")
