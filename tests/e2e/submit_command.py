"""`rollonce submit` as processes of its own, whose messages can be waited for.

Each is a fork of a process that has imported the program: otherwise most of the time of the tests would be that of the
imports of sixteen clients at once.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.controlplane.polling import wait_for
from tests.e2e.objects import Object

_SECONDS: Final = 60.0
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "webhook.cli", "webhook.dedupe.submit", "tests.e2e.submit_command"])


@dataclass(frozen=True, slots=True)
class Submitted:
    """The result of `rollonce submit`.

    Attributes:
        code: The exit code.
        output: Standard output.
        messages: Standard error.
    """

    code: int
    output: str
    messages: str

    @property
    def runs(self) -> list[Any]:
        """What `-o json` has printed."""
        printed: list[Any] = json.loads(self.output)
        return printed

    @property
    def run(self) -> Any:
        """The only one of `runs`."""
        (only,) = self.runs
        return only


class Submitting:
    """A running `rollonce submit`; use it as a context manager.

    Args:
        kubeconfig: Credentials of the client.
        manifests: What is submitted, as JSON on standard input.
        arguments: Further arguments.
    """

    def __init__(self, kubeconfig: Path, manifests: Sequence[Object], *arguments: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._output, self._messages = folder / "stdout", folder / "stderr"
        (folder / "stdin").write_text("\n".join(map(json.dumps, manifests)))
        self._messages.touch()
        words = ["submit", "-f", "-", "-o", "json", f"--kubeconfig={kubeconfig}", *arguments]
        self._process = _CONTEXT.Process(target=_main, args=(str(folder), words))
        self._process.start()

    def wait_for(self, words: str) -> None:
        """Wait for a message that contains these words."""
        wait_for(lambda: words in self._messages.read_text(), what=f"the message {words!r}")

    def result(self) -> Submitted:
        """Wait for the end."""
        self._process.join(_SECONDS)
        assert self._process.exitcode is not None, self._messages.read_text()
        return Submitted(self._process.exitcode, self._output.read_text(), self._messages.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._folder.cleanup()


def submit(kubeconfig: Path, manifests: Sequence[Object], *arguments: str) -> Submitted:
    """Run `rollonce submit` to its end."""
    with Submitting(kubeconfig, manifests, *arguments) as running:
        return running.result()


def _main(folder: str, words: list[str]) -> None:
    """Be the program, with files in place of the standard streams."""
    from webhook.cli import main  # noqa: PLC0415 - only the child needs it

    os.environ["COLUMNS"] = "200"
    with (
        Path(folder, "stdin").open() as sys.stdin,
        Path(folder, "stdout").open("w") as sys.stdout,
        Path(folder, "stderr").open("w", buffering=1) as sys.stderr,
    ):
        main(words)
