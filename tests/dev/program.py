"""The commands `up` and `demo`."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from rich.console import Console

from tests.controlplane import commands
from tests.controlplane.errors import ControlPlaneError
from tests.dev.environment import Environment, running
from tests.dev.steps import STEPS, Step

console = Console(highlight=False, soft_wrap=True)


def report(text: str) -> None:
    """Print a step of the start."""
    console.print(f"[bold]==>[/] {text}")


def up() -> int:
    """Start everything, print how to use it, and wait for Ctrl-C."""
    stop = threading.Event()

    def on_signal(_: int, __: FrameType | None) -> None:
        stop.set()

    with running(report) as environment:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        programs = environment.plane.programs.kubectl.parent
        report("Ready. In another terminal, in this folder:")
        console.print()
        print(f"  export KUBECONFIG={environment.kubeconfig}")
        print(f"  export PATH={programs}:$PATH")
        for step in STEPS:
            console.print(f"\n  [dim]# {step.title}[/]")
            print(f"  {step.command}")
        console.print()
        report(f"Logs are in {environment.installation.folder}. Ctrl-C stops everything.")
        while not stop.wait(1.0):
            _check_alive(environment)
    return 0


def demo() -> int:
    """Start everything, run the command of each step, and check that the result is as described in the README."""
    with running(report) as environment:
        failed = [step for step in STEPS if not _run_step(step, environment)]
    if failed:
        console.print(f"[bold red]{len(failed)} of {len(STEPS)} steps had another result than described.[/]")
        return 1
    console.print(f"[bold green]All {len(STEPS)} steps had the described result.[/]")
    return 0


def _run_step(step: Step, environment: Environment) -> bool:
    console.print(f"\n[bold]{step.title}[/]")
    print(f"$ {step.command}")
    result = commands.run(
        ["sh", "-c", step.command], env=dict(environment.shell_environment()), input=None, check=False, timeout=90
    )
    for output in (result.stdout, result.stderr):
        if output.strip():
            print(output.rstrip())
    problem = step.problem(result)
    console.print(f"[bold red]✗ not as described: {problem}[/]" if problem else "[green]✓ as described[/]")
    return not problem


def _check_alive(environment: Environment) -> None:
    for replica in (*environment.installation.replicas, *environment.installation.controllers):
        if not replica.process.running:
            raise ControlPlaneError(f"{replica.process.name} has ended; its log ends:\n{replica.process.log_tail()}")
