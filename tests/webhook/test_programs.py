"""How the programs end: as real processes, whatever they wait for, and when one of their tasks misbehaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.controlplane.polling import wait_for
from tests.webhook.test_cli import ROOT
from tests.webhook.test_wrong_settings import certificate, kubeconfig

#: Below the bound after the drain, which is 20 s.
PROMPTLY = 8.0


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port where connections are made and nothing is answered, as of a frozen process."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield listening.getsockname()[1]


class Started:
    """A program that was started, and its log."""

    def __init__(self, *arguments: str, log: Path, module: Sequence[str] = ("webhook",)) -> None:
        inherited = {key: text for key, text in os.environ.items() if not key.startswith(("ROLLONCE_", "KUBE"))}
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *module, *arguments], cwd=ROOT, stdout=output, stderr=output, env=inherited
            )

    def lines(self) -> list[Mapping[str, Any]]:
        """Return the lines of its log."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def wait_for_event(self, event: str) -> Mapping[str, Any]:
        """Wait until it has logged an event, and return that line."""
        return wait_for(lambda: [line for line in self._complete() if line["event"] == event], what=event)[0]

    def wait(self, seconds: float) -> int:
        """Wait until it has ended, and return its exit code."""
        return self.process.wait(seconds)

    def _complete(self) -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def program(
    folder: Path, name: str, *more: str, server: str = "https://127.0.0.1:1", odd: str = ""
) -> Iterator[Started]:
    """Start a program with settings that would work, given an API server and Redis."""
    own = ("--listen=127.0.0.1:0", "--drain=0s", *certificate(folder)) if name == "serve" else ("--tls-mode=files",)
    arguments = (
        *(name, "--health-listen=127.0.0.1:0", "--namespace=ops", *own),
        *(("--redis-url=redis://127.0.0.1:1",) if "redis" not in str(more) else ()),
        f"--kubeconfig={kubeconfig(folder, server)}",
        *more,
    )
    module = ("tests.webhook.odd_programs", odd) if odd else ("webhook",)
    with Started(*arguments, log=folder / "log", module=module) as started:
        yield started


@pytest.mark.parametrize("name", ["serve", "controller"])
def test_a_program_without_its_dependencies_ends_when_asked(tmp_path: Path, name: str) -> None:
    """Neither the API server nor Redis answers; the exit code is 0."""
    with (
        silent_server() as port,
        program(tmp_path, name, f"--redis-url=redis://127.0.0.1:{port}", server=f"https://127.0.0.1:{port}") as started,
    ):
        started.wait_for_event("serving" if name == "serve" else "controlling")
        started.process.send_signal(signal.SIGTERM)
        assert started.wait(PROMPTLY + 12) == 0
        assert started.lines()[-1]["event"] == "stopped"


def test_a_program_that_is_being_set_up_ends_when_asked(tmp_path: Path) -> None:
    """The key of the checksums is in a Secret, and the API server does not answer."""
    with (
        silent_server() as port,
        program(
            tmp_path, "serve", "--rollout-checksums-key-secret=key/key", server=f"https://127.0.0.1:{port}"
        ) as started,
    ):
        started.wait_for_event("starting")
        started.process.send_signal(signal.SIGTERM)
        assert started.wait(PROMPTLY) == 0
        assert started.lines()[-1]["event"] == "stopped before it was started"


def test_a_program_that_waits_for_a_credential_ends_when_asked(tmp_path: Path) -> None:
    """The kubeconfig names a program that does not end; nothing is logged before its answer."""
    waiting = tmp_path / "waiting"
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\ntouch {waiting}\nexec sleep 60\n")
    plugin.chmod(0o755)
    path = kubeconfig(tmp_path, "https://127.0.0.1:1")
    content = yaml.safe_load(path.read_text())
    call = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    content["users"][0]["user"] = {"exec": call}
    path.write_text(yaml.safe_dump(content))
    arguments = ("controller", "--namespace=ops", "--health-listen=127.0.0.1:0", f"--kubeconfig={path}")
    with Started(*arguments, log=tmp_path / "log") as started:
        wait_for(waiting.exists, what="the plugin to be called")
        started.process.send_signal(signal.SIGTERM)
        assert started.wait(PROMPTLY) == 0


@pytest.mark.parametrize("name", ["serve", "controller"])
def test_a_defect_of_a_task_ends_the_program(tmp_path: Path, name: str) -> None:
    """The exit code is 1, and one line says which task failed where, without the text of the exception."""
    with program(tmp_path, name, odd="defect") as started:
        assert started.wait(PROMPTLY + 12) == 1
        (line,) = [line for line in started.lines() if line["event"] == "task failed by a defect, ending"]
    assert (line["task"], line["error"]) == ("defect", "RuntimeError")
    assert "odd_programs.py" in line["origin"]
    log = (tmp_path / "log").read_text()
    assert "hush-hush" not in log
    assert "Traceback" not in log


def test_a_task_that_ignores_its_cancellation_does_not_keep_the_program(tmp_path: Path) -> None:
    """It is given some seconds; then the program ends without it, with exit code 1."""
    with program(tmp_path, "serve", odd="stubborn") as started:
        started.wait_for_event("serving")
        started.process.send_signal(signal.SIGTERM)
        assert started.wait(20) == 1
        events = {line["event"]: line for line in started.lines()}
    assert events["tasks do not end after their cancellation"]["tasks"] == ["stubborn"]
    assert "stubborn" in events["program does not end in time, ending at once"]["tasks"]


def test_an_event_loop_that_stands_still_ends_the_program(tmp_path: Path) -> None:
    """After some seconds, by itself: nobody has to ask it."""
    with program(tmp_path, "serve", odd="standstill") as started:
        assert started.wait(20) == 1
        line = started.lines()[-1]
    assert line["event"] == "event loop stands still, ending"
    assert "_standstill" in line["origin"]


def test_a_program_that_was_frozen_goes_on(tmp_path: Path) -> None:
    """A process that was stopped for longer than its event loop may stand still is not to blame."""
    with program(tmp_path, "serve") as started:
        port = int(started.wait_for_event("starting")["health"].rpartition(":")[2])
        started.wait_for_event("serving")
        started.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, started.process.pid, os.WSTOPPED | os.WNOWAIT)
        time.sleep(6)  # longer than the limit of the watchdog: there is no condition to wait for
        started.process.send_signal(signal.SIGCONT)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.0 200")
        assert started.process.poll() is None
