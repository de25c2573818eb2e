"""Controller processes under test, and what is counted of what they do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controlplane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.controlplane.process import ManagedProcess
from tests.e2e.objects import Object
from tests.e2e.test_checksums import by_hand
from tests.rollonce import ROOT, Replica

_HOST = "127.0.0.1"
#: Quick enough for tests, and not so quick that changes would not be taken together.
QUICK = ("--rollout-checksums-settle=200ms", "--rollout-checksums-settle-ceiling=1s", "--rollout-checksums-backoff=0s")
READY_LINE = "Looking after workloads."


@dataclass
class Controller:
    """One controller process.

    Attributes:
        replica: The process, and where its metrics are.
        folder: With its log.
        lease: The Lease that it is elected by.
        namespace: Where that is.
    """

    replica: Replica
    plane: ControlPlane
    namespace: str
    lease: str

    @classmethod
    def start(
        cls,
        plane: ControlPlane,
        folder: Path,
        namespace: str,
        *settings: str,
        kubeconfig: Path | None = None,
        name: str = "controller",
        wait: bool = True,
    ) -> Controller:
        """Start a controller that looks after one namespace, and wait until it does.

        Args:
            plane: The control plane.
            folder: For its log.
            namespace: What it looks after, and where its Lease is.
            *settings: More arguments.
            kubeconfig: As whom it calls the API server; by default as an administrator.
            name: Of its log, and of its Lease.
            wait: Whether to wait until it leads and has seen everything.
        """
        (port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / f"{name}.log"
        argv = (
            *(sys.executable, "-m", "webhook", "controller"),
            f"--health-listen={_HOST}:{port}",
            f"--kubeconfig={kubeconfig or plane.kubeconfig}",
            f"--namespace={namespace}",
            "--tls-mode=files",
            *QUICK,
            *settings,
        )
        seen = log.stat().st_size if log.exists() else 0

        def ready() -> bool:
            return log.exists() and READY_LINE in log.read_text()[seen:]

        process = ManagedProcess(name, argv, log=log, env=dict(os.environ), cwd=ROOT, ready=ready)
        made = cls(Replica(process.spawn(), 0, port), plane, namespace, "rollonce-controller")
        if wait:
            process.wait_ready()
        return made

    def kill(self) -> None:
        """End it as `kill -9` does, and free its Lease, so that the next one need not wait for it to run out."""
        self.replica.process.kill()
        self.plane.kubectl("delete", "lease", self.lease, "-n", self.namespace, "--ignore-not-found")

    def metric(self, name: str, **labels: str) -> float:
        """Read the sum of a metric over all series that carry these labels."""
        return self.replica.metric(name, **labels)

    def is_idle(self) -> None:
        """Wait until there is nothing that it waits for or works on."""
        self.plane.wait_for(lambda: self.metric("rollonce_queue_keys") == 0, what="the controller to be idle")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.replica.process.kill()


@dataclass(frozen=True, slots=True)
class Workloads:
    """The workloads of a namespace.

    Attributes:
        plane: The control plane.
        namespace: Which.
    """

    plane: ControlPlane
    namespace: str

    def current(self, kind: str, name: str) -> str:
        """Return the checksum of what an object holds now, computed as the documentation says."""
        return by_hand(self.plane, kind, name, self.namespace)

    def all(self, kind: str = "deployments") -> dict[str, Object]:
        """Return them by name."""
        listed = json.loads(self.plane.kubectl("get", kind, "-n", self.namespace, "-o", "json").stdout)
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def checksums(self, key: str, kind: str = "deployments") -> dict[str, str]:
        """Return what their pod templates carry under a key; an empty text where they do not."""
        return {name: annotations_of(item).get(key, "") for name, item in self.all(kind).items()}

    def generations(self, kind: str = "deployments") -> dict[str, int]:
        """Return how many times the spec of each was changed, its creation included.

        For a Deployment changes of its own annotations count too.
        """
        return {name: item["metadata"]["generation"] for name, item in self.all(kind).items()}

    def revisions(self) -> dict[str, int]:
        """Return how many ReplicaSets each Deployment has ever had."""
        return {
            name: int(item["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", 0))
            for name, item in self.all().items()
        }

    def replica_sets(self) -> dict[str, int]:
        """Return how many ReplicaSets each Deployment has now."""
        listed = json.loads(self.plane.kubectl("get", "replicasets", "-n", self.namespace, "-o", "json").stdout)
        owners = [item["metadata"]["ownerReferences"][0]["name"] for item in listed["items"]]
        return {name: owners.count(name) for name in self.all()}

    def wait_for_checksums(self, key: str, wanted: str, names: Iterable[str] = (), timeout: float = 30.0) -> None:
        """Wait until all of them carry a checksum."""

        def carried() -> bool:
            found = self.checksums(key)
            return all(found[name] == wanted for name in (tuple(names) or found))

        self.plane.wait_for(carried, timeout=timeout, what=f"{key} to be current")


def annotations_of(item: Object) -> dict[str, str]:
    """Return the annotations of a workload's pod template."""
    annotations: dict[str, str] = item["spec"]["template"]["metadata"].get("annotations", {})
    return annotations
