"""The server under attack, with the traffic that must go on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from tests.certs.cluster import RealApi
from tests.e2e.load import Load
from tests.hostile import cage
from tests.hostile.caller import ATTACKER, Caller
from tests.rollonce import Installation, Replica


@dataclass(frozen=True, slots=True)
class Target:
    """One server process.

    Attributes:
        installation: The installation that it belongs to.
    """

    installation: Installation

    @property
    def replica(self) -> Replica:
        """The process."""
        return self.installation.replicas[0]

    @property
    def pid(self) -> int:
        """Its id."""
        return self.replica.process.pid

    def caller(self, source: str = ATTACKER) -> Caller:
        """Return a caller of its admission port."""
        return Caller(self.replica.port, self.installation.trust, source)

    def health_caller(self, source: str = ATTACKER) -> Caller:
        """Return a caller of its health port."""
        return Caller(self.replica.health_port, None, source)

    def log(self) -> str:
        """Return its log so far."""
        return self.replica.process.log.read_text()


@dataclass(slots=True)
class Spent:
    """What an attack has cost.

    Attributes:
        pid: The process.
        cpu: Its CPU seconds at the start.
        started: The time of the start.
    """

    pid: int
    cpu: float = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin."""
        cage.reset_peak(self.pid)
        self.cpu = cage.cpu_seconds(self.pid)
        self.started = time.monotonic()

    @property
    def cpu_seconds(self) -> float:
        """The CPU seconds of the process since the start."""
        return cage.cpu_seconds(self.pid) - self.cpu

    @property
    def peak(self) -> int:
        """The most bytes resident since the start."""
        return cage.peak(self.pid)


class Honest(Load):
    """Twenty writers through the API server, each with a run and a Deployment at a time, whose latency is measured."""

    def __init__(self, installation: Installation, namespace: str) -> None:
        super().__init__(installation.plane, namespace)
        self.latencies: list[float] = []

    def p99(self) -> float:
        """Return the latency in seconds that 99 of 100 writes did not exceed since the last call."""
        measured, self.latencies = sorted(self.latencies), []
        return measured[min(len(measured) - 1, int(0.99 * len(measured)))] if measured else math.nan

    async def _request(self, api: RealApi, method: str, path: str, body: bytes, expected: str) -> None:
        started = time.monotonic()
        await super()._request(api, method, path, body, expected)
        self.latencies.append(time.monotonic() - started)
