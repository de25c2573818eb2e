"""Errors of the control plane for tests; each message says what to do next."""

from pathlib import Path


class ControlPlaneError(Exception):
    """Base class of the errors of this package; the message is shown to users unchanged."""


class BuildError(ControlPlaneError):
    """A program could not be found or built."""


class ProcessError(ControlPlaneError):
    """A process did not start, did not become ready, or did not end."""


class CommandError(ControlPlaneError):
    """A command such as `kubectl` failed or took too long."""


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or a text that says that there are none.

    Args:
        log: The file; only its last 64 KiB are read.
        lines: Largest number of lines.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65_536))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log was written)"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"
