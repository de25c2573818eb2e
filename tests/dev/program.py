"""What `up` and `demo` do."""

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


def say(text: str) -> None:
    """Tell of a step of the start."""
    console.print(f"[bold]==>[/] {text}")


def up() -> int:
    """Start everything, say how to use it, and wait for Ctrl-C."""
    stop = threading.Event()

    def on_signal(_: int, __: FrameType | None) -> None:
        stop.set()

    with running(say) as environment:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        programs = environment.plane.programs.kubectl.parent
        say("Ready. In another terminal, in this folder:")
        console.print()
        print(f"  export KUBECONFIG={environment.kubeconfig}")
        print(f"  export PATH={programs}:$PATH")
        for step in STEPS:
            console.print(f"\n  [dim]# {step.title}[/]")
            print(f"  {step.command}")
        console.print()
        say(f"Logs are in {environment.installation.folder}. Ctrl-C stops everything.")
        while not stop.wait(1.0):
            _check_alive(environment)
    return 0


def demo() -> int:
    """Start everything, run each command, and check that it ends as the README says."""
    with running(say) as environment:
        failed = [step for step in STEPS if not _show(step, environment)]
    if failed:
        console.print(f"[bold red]{len(failed)} of {len(STEPS)} steps did not go as described.[/]")
        return 1
    console.print(f"[bold green]All {len(STEPS)} steps went as described.[/]")
    return 0


def _show(step: Step, environment: Environment) -> bool:
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
