"""Check whether a process exists."""

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie: an orphan can stay a zombie if no init process reaps it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"
