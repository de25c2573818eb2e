"""What attacks cost: `python -m tests.bench hostile [WORD]`, where a word selects attacks by their name.

One server process, attacked from an address of its own, beside 20 writers through the API server. Memory is the most
that was resident, CPU that of the server process, which also serves the writers; p99 is the latency of their writes.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.controlplane import ControlPlane
from tests.hostile.attacks import ATTACKS
from tests.hostile.cage import resident
from tests.hostile.target import Honest, Spent, Target
from tests.rollonce import Installation
from tests.valkey import Valkey

_QUIET_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """Run each attack and print a table."""
    word = arguments[0] if arguments else ""
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane.start() as plane,
        Valkey.start(Path(folder) / "valkey") as store,
        Installation.start(plane, Path(folder) / "servers", redis_url=store.url) as installation,
    ):
        target = Target(installation)
        plane.kubectl("create", "namespace", "honest")
        with Honest(installation, "honest") as traffic:
            print(f"resident before: {resident(target.pid) / 2**20:.0f} MiB")
            print(f"{'attack':32} {'seconds':>8} {'MiB':>6} {'CPU s':>6} {'writes':>7} {'p99 ms':>7} failed")
            for name, attack in {"none": _nothing, **ATTACKS}.items():
                if word in name or name == "none":
                    traffic.p99()
                    traffic.failures.clear()
                    written, spent = traffic.written, Spent(target.pid)
                    asyncio.run(attack(target))
                    traffic.wait_for(20)
                    print(
                        f"{name:32} {time.monotonic() - spent.started:8.1f} {spent.peak / 2**20:6.0f}"
                        f" {spent.cpu_seconds:6.1f} {traffic.written - written:7} {1000 * traffic.p99():7.0f}"
                        f" {traffic.failures.total()}"
                    )
    return 0


async def _nothing(_: Target) -> None:
    await asyncio.sleep(_QUIET_SECONDS)
