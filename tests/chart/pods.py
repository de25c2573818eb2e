"""A node whose pods are local processes: started from exactly what the API server has, probed, and ended in time.

What differs from a kubelet, because all pods share one network and one file system: ports and the folders of volumes
are replaced in arguments, the token is in a kubeconfig, and names of Services are replaced by addresses. Images are
not pulled: the entry point is that of the Dockerfile. User ids and resource limits have no effect.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.chart.api import Api, MissingError
from tests.chart.service import ServiceProxy
from tests.controlplane import ControlPlane, commands
from tests.controlplane.commands import Result
from tests.controlplane.ports import free_ports
from tests.controlplane.process import ManagedProcess
from tests.probes import Probe
from tests.rollonce import ROOT
from tests.valkey import _executable

Object = dict[str, Any]

NODE: Final = "here"
_HOST: Final = "127.0.0.1"
_HEARTBEAT_SECONDS: Final = 10.0
_PASS_SECONDS: Final = 0.1
#: The entry point of the Dockerfile.
_ENTRY_POINT: Final = (sys.executable, "-m", "webhook")


@dataclass
class LocalPod:
    """A pod that runs here.

    Attributes:
        process: Its one container.
        ports: The local port of each named port.
        environment: That of its process.
        mounts: The local folder of each mounted one.
        kubeconfig: The credentials of its ServiceAccount; None for Valkey, which has none.
        status: What was last written as its status.
        ended_by: When it is killed, in seconds of `time.monotonic`; 0 if it was not asked to end.
    """

    process: ManagedProcess
    ports: dict[str, int]
    environment: dict[str, str]
    mounts: dict[str, str]
    kubeconfig: Path | None = None
    status: Object = field(default_factory=dict)
    ended_by: float = 0.0


class LocalNode:
    """Run the pods of one namespace. Use it as a context manager.

    Args:
        plane: The control plane, without nodes of its own.
        folder: Folder for files and logs of the pods, and for the one volume.
        namespace: The namespace.
        service: What the API server connects to instead of the Service of the webhooks.

    Attributes:
        plane: The control plane.
        folder: That folder; the log of a pod is in `POD/log`.
        pods: The pods that run here, by name.
        problem: What ended the thread, if something did.
    """

    def __init__(self, plane: ControlPlane, folder: Path, namespace: str, service: ServiceProxy) -> None:
        self.plane, self.folder, self._namespace, self._service = plane, folder, namespace, service
        self._api = Api(plane, folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)
        self._beaten = 0.0
        (self._redis_port,) = free_ports(1)
        self.pods: dict[str, LocalPod] = {}
        self.problem: BaseException | None = None

    def __enter__(self) -> Self:
        self._api.process.start()
        name = {"kubernetes.io/hostname": NODE, "topology.kubernetes.io/zone": "zone"}
        self.plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": name}})
        volume: Object = {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": str(self.folder / "data")},
        }
        metadata = {"name": self._namespace}
        self.plane.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": volume})
        self._thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for pod in self.pods.values():
            pod.process.kill()
        self._api.process.kill()

    def execute(self, command: str) -> Result:
        """Run a command of rollonce as `kubectl exec` would in a server that is ready."""
        pod = next(pod for pod in self.pods.values() if "https" in pod.ports and _is_ready(pod))
        paths = {f"{path}/": f"{local}/" for path, local in pod.mounts.items()}
        text = _replaced(command, {**paths, ":8443": f":{pod.ports['https']}"})
        argv = [*_ENTRY_POINT, *shlex.split(text)[1:], f"--kubeconfig={pod.kubeconfig}"]
        return commands.run(argv, input=None, env=pod.environment, check=False, timeout=60)

    def _run(self) -> None:
        try:
            while not self._stop.wait(_PASS_SECONDS):
                self._beat()
                self._pass()
        except BaseException as error:
            self.problem = error
            raise

    def _beat(self) -> None:
        if time.monotonic() < self._beaten + _HEARTBEAT_SECONDS:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now, "reason": "Up"}
        capacity = {"cpu": "64", "memory": "64Gi", "pods": "100"}
        status = {"conditions": [ready], "capacity": capacity, "allocatable": capacity}
        self._api.patch(f"/api/v1/nodes/{NODE}/status", {"status": status})
        self._beaten = time.monotonic()

    def _pass(self) -> None:
        listed = self._api.get(f"/api/v1/namespaces/{self._namespace}/pods")["items"]
        for pod in listed:
            # A pod that is deleted meanwhile, or whose Secret does not exist yet, is looked at again.
            with contextlib.suppress(MissingError):
                self._look_at(pod)
        for name in set(self.pods) - {pod["metadata"]["name"] for pod in listed}:
            self.pods.pop(name).process.kill()
        self._service.ports = tuple(
            self.pods[pod["metadata"]["name"]].ports["https"]
            for pod in listed
            if _is_ready(self.pods.get(pod["metadata"]["name"])) and _selected(pod)
        )

    def _look_at(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if pod["spec"].get("nodeName") != NODE or pod["status"]["phase"] in {"Succeeded", "Failed"}:
            return
        if name not in self.pods:
            if "deletionTimestamp" in pod["metadata"]:
                self._forget(name)
                return
            self.pods[name] = self._started(pod)
        local = self.pods[name]
        if "deletionTimestamp" in pod["metadata"]:
            self._end(name, local, pod["metadata"]["deletionGracePeriodSeconds"])
        elif pod["spec"]["restartPolicy"] == "Never":
            if not local.process.running:
                phase = "Succeeded" if local.process.returncode == 0 else "Failed"
                self._report(pod, local, ready=False, phase=phase)
        else:
            if not local.process.running:
                local.process.spawn()
            self._report(pod, local, ready=_ready(pod, local), phase="Running")

    def _end(self, name: str, local: LocalPod, grace: float) -> None:
        if not local.ended_by:
            local.ended_by, local.status = time.monotonic() + grace, {}
            if local.process.running:
                local.process.signal(signal.SIGTERM)
        if local.process.running and time.monotonic() > local.ended_by:
            local.process.kill()
        if not local.process.running:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._api.delete(f"/api/v1/namespaces/{self._namespace}/pods/{name}?gracePeriodSeconds=0")

    def _report(self, pod: Object, local: LocalPod, *, ready: bool, phase: str) -> None:
        status: Object = {
            "phase": phase,
            "conditions": [{"type": kind, "status": str(ready)} for kind in ("Ready", "ContainersReady")],
        }
        if status != local.status:
            self._api.patch(_path(pod) + "/status", {"status": status})
            local.status = status

    def _started(self, pod: Object) -> LocalPod:
        """Start the container of a pod."""
        (container,) = pod["spec"]["containers"]
        folder = self.folder / pod["metadata"]["name"]
        ports = {port["name"]: free_ports(1)[0] for port in container.get("ports", ())}
        if "redis" in ports:
            ports["redis"] = self._redis_port
        mounts = {
            mount["mountPath"]: str(self._volume(pod, mount["name"], folder))
            for mount in container.get("volumeMounts", ())
            if not mount["mountPath"].startswith("/var/run/secrets/kubernetes.io")
        }
        environment = self._environment(container)
        command = [_expanded(text, environment, mounts) for text in container.get("command", ())]
        arguments = [_expanded(text, environment, mounts) for text in container.get("args", ())]
        credentials = None
        if command[:1] == ["valkey-server"]:
            more = ["--port", str(ports["redis"]), "--bind", _HOST]
            argv = [str(_executable()), *command[1:], *arguments, *more]
        else:
            credentials = self._credentials(pod, folder)
            program = (sys.executable, *command[1:]) if command[:1] == ["python"] else _ENTRY_POINT
            argv = [*program, *arguments, f"--kubeconfig={credentials}"]
            listen = {"https": "--listen", "health": "--health-listen"}
            argv += [f"{listen[port]}={_HOST}:{number}" for port, number in ports.items()]
        environment |= {"PATH": os.defpath, "POD_NAMESPACE": self._namespace, "HOME": str(folder)}
        process = ManagedProcess(pod["metadata"]["name"], argv, log=folder / "log", env=environment, cwd=ROOT)
        return LocalPod(process.spawn(), ports, environment, mounts, credentials)

    def _resolved(self, text: str) -> str:
        """Return a text with the address of Valkey instead of its Service's name, and the folder of its volume."""
        text = re.sub(r"(?m)^dir /data$", f"dir {self.folder / 'data'}", text)
        return re.sub(r"[\w-]+-valkey:6379", f"{_HOST}:{self._redis_port}", text)

    def _volume(self, pod: Object, name: str, folder: Path) -> Path:
        (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == name)
        if "persistentVolumeClaim" in volume:
            path = self.folder / "data"
            path.mkdir(exist_ok=True)
            return path
        path = folder / name
        path.mkdir(parents=True, exist_ok=True)
        found = self._api.get(f"/api/v1/namespaces/{self._namespace}/configmaps/{volume['configMap']['name']}")
        for key, text in found["data"].items():
            (path / key).write_text(self._resolved(text))
        return path

    def _environment(self, container: Object) -> dict[str, str]:
        environment: dict[str, str] = {}
        for variable in container.get("env", ()):
            if "valueFrom" in variable:
                value = self._api.secret(self._namespace, **variable["valueFrom"]["secretKeyRef"])
            else:
                value = _expanded(variable.get("value", ""), environment, {})
            environment[variable["name"]] = self._resolved(value)
        return environment

    def _credentials(self, pod: Object, folder: Path) -> Path:
        """Return a kubeconfig with a token that is valid as long as the pod exists."""
        account = pod["spec"]["serviceAccountName"]
        token = self._api.token(self._namespace, account, pod["metadata"]["name"], pod["metadata"]["uid"])
        return self.plane._site.cluster.write_kubeconfig(folder / "kubeconfig", token, namespace=self._namespace)


def _expanded(text: str, environment: Mapping[str, str], mounts: Mapping[str, str]) -> str:
    """Return a text with `$(VARIABLE)` replaced as Kubernetes does, and the paths of mounts."""
    text = re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), text)
    return _replaced(text, {f"{path}/": f"{local}/" for path, local in mounts.items()})


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _is_ready(local: LocalPod | None) -> bool:
    return local is not None and bool(local.status) and local.status["conditions"][0]["status"] == "True"


def _selected(pod: Object) -> bool:
    return bool(pod["metadata"]["labels"].get("app.kubernetes.io/component") == "serve")


def _ready(pod: Object, local: LocalPod) -> bool:
    (container,) = pod["spec"]["containers"]
    if "httpGet" not in container.get("readinessProbe", {}):
        with contextlib.suppress(OSError), socket.create_connection((_HOST, local.ports["redis"]), timeout=1):
            return True
        return False
    probe = Probe.of(container, "readinessProbe", grace=0)
    return probe.asks(local.ports[container["readinessProbe"]["httpGet"]["port"]])
