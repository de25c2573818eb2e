"""The memory of a process: its limit, as a pod has one, and the most that it has used."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The limit of a replica.
LIMIT_BYTES = 256 * 2**20
_V1 = Path("/sys/fs/cgroup/memory")


@contextmanager
def caged(pid: int) -> Iterator[bool]:
    """Limit the memory of a process by a cgroup; yields whether that could be done on this machine.

    Args:
        pid: The process; it has ended when the block ends, or goes on without the limit.
    """
    group = _V1 / f"rollonce-hostile-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        # Not Linux, not root, or another version of cgroups: `peak` is checked all the same.
        yield False
        return
    try:
        # What the process has already stays with its old group.
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES - resident(pid)))
        (group / "cgroup.procs").write_text(str(pid))
        yield True
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    for line in (group / "cgroup.procs").read_text().split():
        (_V1 / "cgroup.procs").write_text(line)
    for _ in range(50):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return


def peak(pid: int) -> int:
    """Return the most bytes that were resident since the start or `reset_peak`."""
    return _status(pid, "VmHWM")


def resident(pid: int) -> int:
    """Return the bytes that are resident."""
    return _status(pid, "VmRSS")


def reset_peak(pid: int) -> None:
    """Let `peak` begin with what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(name)
