"""What can go wrong with the control plane for tests, each said so that a reader knows what to do next."""

from pathlib import Path


class ControlPlaneError(Exception):
    """Base of every error of this package; its message is meant to be shown as it is."""


class BuildError(ControlPlaneError):
    """A program could not be found or built."""


class ProcessError(ControlPlaneError):
    """A process did not start, did not become ready or did not do what it was told."""


class CommandError(ControlPlaneError):
    """A command such as `kubectl` ended with an exit code other than 0."""


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or a word on why there are none.

    Args:
        log: The file to read; only its last 64 KiB are looked at.
        lines: How many lines at most.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65_536))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log was written)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
