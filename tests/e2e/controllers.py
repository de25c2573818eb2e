"""Controller processes under test, and counts of their writes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controlplane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.controlplane.process import ManagedProcess
from tests.e2e.objects import Object
from tests.e2e.test_checksums import computed_checksum
from tests.rollonce import ROOT, Replica
from webhook.checksums.core.digest import checksum

_HOST = "127.0.0.1"
#: Short for tests, and long enough that changes at the same time become one rollout.
QUICK = ("--rollout-checksums-settle=200ms", "--rollout-checksums-settle-ceiling=1s", "--rollout-checksums-backoff=0s")
READY_EVENT = "watching workloads"


@dataclass
class Controller:
    """One controller process.

    Attributes:
        replica: The process with its metrics.
        plane: The control plane.
        namespace: Namespace of its workloads and of its Lease.
        lease: Name of its Lease.
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
        """Start a controller for one namespace, and wait until it leads and watches.

        Args:
            plane: The control plane.
            folder: Folder of its log.
            namespace: Namespace of its workloads and of its Lease.
            *settings: Further arguments.
            kubeconfig: Its credentials; by default those of an administrator.
            name: Name of its process and log.
            wait: Whether to wait until it leads and has read all objects.
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
        before = log.stat().st_size if log.exists() else 0

        def ready() -> bool:
            return log.exists() and READY_EVENT in log.read_text()[before:]

        process = ManagedProcess(name, argv, log=log, env=dict(os.environ), cwd=ROOT, ready=ready)
        made = cls(Replica(process.spawn(), 0, port), plane, namespace, "rollonce-controller")
        if wait:
            process.wait_ready()
        return made

    def kill(self) -> None:
        """End it by SIGKILL, and delete its Lease, so that the next controller can lead at once."""
        self.replica.process.kill()
        self.plane.kubectl("delete", "lease", self.lease, "-n", self.namespace, "--ignore-not-found")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all series that have these labels."""
        return self.replica.metric(name, **labels)

    def is_idle(self) -> None:
        """Wait until its queue is empty."""
        self.plane.wait_for(lambda: self.metric("rollonce_queue_keys") == 0, what="the controller to be idle")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.replica.process.kill()


@dataclass(frozen=True, slots=True)
class Workloads:
    """The workloads of a namespace.

    Attributes:
        plane: The control plane.
        namespace: The namespace.
    """

    plane: ControlPlane
    namespace: str

    def current(self, kind: str, name: str) -> str:
        """Return the checksum of the present contents of an object, computed as documented."""
        return computed_checksum(self.plane, kind, name, self.namespace)

    def all(self, kind: str = "deployments") -> dict[str, Object]:
        """Return the workloads of a kind by name."""
        listed = json.loads(self.plane.kubectl("get", kind, "-n", self.namespace, "-o", "json").stdout)
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def checksums(self, key: str, kind: str = "deployments") -> dict[str, str]:
        """Return the annotation with this key of each pod template; an empty text if there is none."""
        return {name: annotations_of(item).get(key, "") for name, item in self.all(kind).items()}

    def generations(self, kind: str = "deployments") -> dict[str, int]:
        """Return how many times the spec of each workload was changed, including its creation.

        For a Deployment, changes of its own annotations count too.
        """
        return {name: item["metadata"]["generation"] for name, item in self.all(kind).items()}

    def revisions(self) -> dict[str, int]:
        """Return how many ReplicaSets each Deployment has had."""
        return {
            name: int(item["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", 0))
            for name, item in self.all().items()
        }

    def replica_sets(self) -> dict[str, int]:
        """Return how many ReplicaSets each Deployment has now."""
        listed = json.loads(self.plane.kubectl("get", "replicasets", "-n", self.namespace, "-o", "json").stdout)
        owners = [item["metadata"]["ownerReferences"][0]["name"] for item in listed["items"]]
        return {name: owners.count(name) for name in self.all()}

    def wait_for_checksums(self, key: str, checksum: str, names: Iterable[str] = (), timeout: float = 30.0) -> None:
        """Wait until all workloads, or those named, have a checksum."""

        def current() -> bool:
            found = self.checksums(key)
            return all(found[name] == checksum for name in (tuple(names) or found))

        self.plane.wait_for(current, timeout=timeout, what=f"{key} to be current")


class WatchHistory:
    """All states of the workloads of a namespace, as a watch shows them.

    Args:
        plane: The control plane.
        namespace: The namespace.
        folder: Where the events are written.
        kinds: The kinds of workloads, of each of which there is one already.
    """

    def __init__(
        self, plane: ControlPlane, namespace: str, folder: Path, kinds: Iterable[str] = ("deployments",)
    ) -> None:
        self._plane = plane
        self._files = {kind: folder / f"{kind}.events" for kind in kinds}
        self._namespace = namespace
        self._watches: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        environment = {**os.environ, "KUBECONFIG": str(self._plane.kubeconfig)}
        for kind, path in self._files.items():
            argv = ["get", kind, "-n", self._namespace, "-w", "--output-watch-events", "-o", "json"]
            with path.open("wb") as output:
                watch = subprocess.Popen([self._plane.programs.kubectl, *argv], stdout=output, env=environment)
            self._watches.append(watch)
        self._plane.wait_for(lambda: all(path.stat().st_size for path in self._files.values()), what="the watches")
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for watch in self._watches:
            watch.kill()
            watch.wait()

    def states(self) -> Iterator[tuple[str, dict[str, Object]]]:
        """Yield after each change which workload has changed, and all workloads; their names are `kind/name`."""
        events: list[Object] = []
        for path in self._files.values():
            text, end = path.read_text(), 0
            while (end := _skip_blanks(text, end)) < len(text):
                try:
                    event, end = json.JSONDecoder().raw_decode(text, end)
                except ValueError:
                    break  # the watch ended in the middle of an event
                events.append(event["object"])
        now: dict[str, Object] = {}
        for item in sorted(events, key=lambda item: int(item["metadata"]["resourceVersion"])):
            name = f"{item['kind'].lower()}/{item['metadata']['name']}"
            now[name] = item
            yield name, now


def _skip_blanks(text: str, start: int) -> int:
    return len(text) - len(text[start:].lstrip())


@contextmanager
def pods_refused(plane: ControlPlane, namespace: str, key: str, *checksums: str) -> Iterator[None]:
    """Refuse pods with certain checksums until the end of the block, as if they could not start with these contents."""
    annotations = "object.metadata.annotations"
    bad = json.dumps(checksums)
    expression = f"!has({annotations}) || !('{key}' in {annotations}) || !({annotations}['{key}'] in {bad})"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [rule],
            },
            "validations": [{"expression": expression, "message": "these contents are bad"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "annotations": {key: checksums[0]}},
        "spec": {"containers": [{"name": "probe", "image": "probe"}]},
    }

    def is_refused() -> bool:
        create = ("create", "--dry-run=server", "-n", namespace, "-f", "-")
        return "these contents are bad" in plane.kubectl(*create, input=json.dumps(pod), check=False).stderr

    plane.apply([policy, binding])
    try:
        plane.wait_for(is_refused, what="the policy to be in effect")
        yield
    finally:
        kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy"
        plane.kubectl("delete", kinds, namespace)


def checksum_of(**values: str) -> str:
    """Return the checksum of a Secret with these contents, before it exists."""
    return checksum({key: base64.b64encode(value.encode()).decode() for key, value in values.items()}, None)


def annotations_of(item: Object) -> dict[str, str]:
    """Return the annotations of a workload's pod template."""
    annotations: dict[str, str] = item["spec"]["template"]["metadata"].get("annotations", {})
    return annotations
