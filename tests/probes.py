"""What a kubelet and a Service do for a replica: probes, removal from the addresses, and a restart."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.balancer import Balancer
from tests.rollonce import Replica

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container.

    Attributes:
        path: The path that is requested.
        period: Seconds from one request to the next.
        timeout: Seconds until a request counts as failed.
        failures: Failures in a row after which the probe has failed.
        grace: For a liveness probe: seconds from SIGTERM to SIGKILL.
    """

    path: str
    period: float
    timeout: float
    failures: int
    grace: float

    @classmethod
    def of(cls, container: Mapping[str, Any], name: str, *, grace: float) -> Probe:
        """Return a probe of a container as a manifest describes it, with the defaults of Kubernetes.

        https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
        """
        given = container[name]
        return cls(
            given["httpGet"]["path"],
            given.get("periodSeconds", 10),
            given.get("timeoutSeconds", 1),
            given.get("failureThreshold", 3),
            given.get("terminationGracePeriodSeconds", grace),
        )

    @property
    def notices_within(self) -> float:
        """The most seconds from a failure until the probe has failed."""
        return self.period * self.failures + self.timeout

    def asks(self, port: int) -> bool:
        """Request the path once, and return whether it was answered by 200 in time."""
        connection = http.client.HTTPConnection(_HOST, port, timeout=self.timeout)
        try:
            connection.request("GET", self.path)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


class Kubelet:
    """Probe replicas, keep those that are ready behind a balancer, and restart those that are not alive.

    As with kube-proxy, connections that exist stay where they are. Use it as a context manager; meanwhile no one else
    starts or ends the processes.

    Args:
        replicas: The replicas.
        balancer: Stands for the Service.
        readiness: The readiness probe.
        liveness: The liveness probe.

    Attributes:
        happened: What was done and when, in seconds of `time.monotonic`.
    """

    def __init__(self, replicas: Sequence[Replica], balancer: Balancer, *, readiness: Probe, liveness: Probe) -> None:
        self._replicas = tuple(replicas)
        self._balancer = balancer
        self._readiness = readiness
        self._liveness = liveness
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._ready = {replica.port for replica in self._replicas}
        self._threads = [
            threading.Thread(target=watch, args=(replica,), daemon=True)
            for replica in self._replicas
            for watch in (self._watch_readiness, self._watch_liveness)
        ]
        self.happened: list[tuple[float, str]] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch_readiness(self, replica: Replica) -> None:
        failures = 0
        while not self._stop.wait(self._readiness.period):
            failures = 0 if self._readiness.asks(replica.health_port) else failures + 1
            if failures in {0, self._readiness.failures}:
                self._set_ready(replica, ready=failures == 0)

    def _set_ready(self, replica: Replica, *, ready: bool) -> None:
        with self._lock:
            if (replica.port in self._ready) is not ready:
                (self._ready.add if ready else self._ready.remove)(replica.port)
                self._balancer.ports = tuple(one.port for one in self._replicas if one.port in self._ready)
                self._note(f"{replica.process.name} is {'ready' if ready else 'not ready'}")

    def _watch_liveness(self, replica: Replica) -> None:
        failures = 0
        while not self._stop.wait(self._liveness.period):
            failures = 0 if self._liveness.asks(replica.health_port) else failures + 1
            if failures >= self._liveness.failures:
                failures = 0
                self._note(f"{replica.process.name} is not alive")
                self._restart(replica)

    def _restart(self, replica: Replica) -> None:
        os.kill(replica.process.pid, signal.SIGTERM)
        until = time.monotonic() + self._liveness.grace
        while replica.process.running and time.monotonic() < until:
            self._stop.wait(0.1)
        replica.process.kill()
        self._note(f"{replica.process.name} was killed")
        replica.process.spawn()

    def _note(self, what: str) -> None:
        self.happened.append((time.monotonic(), what))
