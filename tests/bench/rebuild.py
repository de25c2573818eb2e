"""Memory of a server while it rebuilds the store from large runs.

python -m tests.bench rebuild [--runs 1000] [--kilobytes 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path

import redis

from tests.controlplane import ControlPlane
from tests.e2e.objects import Object, run
from tests.e2e.raw import RUNS_PATH, RawClient, raw_client
from tests.rollonce import Installation
from tests.valkey import Valkey

_WRITERS = 8
_WAIT_SECONDS = 600.0


def large_run(number: int, kilobytes: int) -> Object:
    """Return a run with parameters of a size."""
    manifest = run(f"d-{number}", name=f"run-{number}")
    manifest["spec"]["parameters"] = {"text": "x" * (kilobytes * 1000)}
    return manifest


async def fill(plane: ControlPlane, runs: int, kilobytes: int) -> None:
    """Store runs."""

    async def create(client: RawClient, number: int) -> None:
        reply = await client.create(RUNS_PATH.format("default"), large_run(number, kilobytes))
        assert reply.status == 201, reply.body[:200]

    async with raw_client(plane.kubeconfig) as client:
        for start in range(0, runs, _WRITERS):
            await asyncio.gather(*(create(client, number) for number in range(start, min(start + _WRITERS, runs))))


def peak_megabytes(pid: int) -> float:
    """Return the most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    raise ValueError("there is no such process")


def main(arguments: list[str]) -> None:
    """Store runs without webhooks, empty the store, and print the peak of the server when all runs are read."""
    parser = argparse.ArgumentParser(prog="rebuild")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--kilobytes", type=int, default=1000)
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane.start() as plane,
        Valkey.start(Path(folder) / "valkey") as store,
    ):
        settings = ("--dedupe-lease=2s", "--log-level=warning")
        with Installation.start(
            plane, Path(folder) / "servers", redis_url=store.url, settings=settings, register=False
        ) as installation:
            (server,) = installation.replicas
            asyncio.run(fill(plane, given.runs, given.kilobytes))
            done = partial(server.metric, "rollonce_dedupe_rebuilds_total", end="done")
            before, started = done(), time.monotonic()
            redis.Redis.from_url(store.url).flushall()
            while done() <= before:
                assert time.monotonic() - started < _WAIT_SECONDS
                time.sleep(0.5)
            print(
                f"{given.runs} runs of {given.kilobytes} kB: rebuilt in {time.monotonic() - started:.0f} s, peak "
                f"{peak_megabytes(server.process.pid):.0f} MB"
            )
