"""Whether a process of somebody else is there."""

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie: an orphan may wait for ever for an init that does not collect."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"
