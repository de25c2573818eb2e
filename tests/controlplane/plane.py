"""A control plane: start, use, break and stop it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.controlplane import commands, etcd
from tests.controlplane.audit import AuditLog
from tests.controlplane.build import ensure
from tests.controlplane.commands import Result
from tests.controlplane.components import servers
from tests.controlplane.errors import ControlPlaneError
from tests.controlplane.nodes import fake_node
from tests.controlplane.options import Component, Options
from tests.controlplane.polling import wait_for
from tests.controlplane.process import ManagedProcess
from tests.controlplane.programs import Programs
from tests.controlplane.site import Site
from tests.controlplane.supervise import Supervisor

T = TypeVar("T")

_COMMAND_SECONDS = 120.0
_START_SECONDS = 60.0


class ControlPlane:
    """Real etcd, API server, controller manager, scheduler and kwok on loopback, in one folder.

    Begin with `ControlPlane.start`; use it as a context manager, or call `stop`. Commands can run in several threads;
    components must be frozen, killed and restarted by one thread only.

    Attributes:
        folder: Folder of its files and logs; the log of a component is `<component>.log`.
        url: URL of the API server.
        authority: CA certificate of the API server.
        kubeconfig: Kubeconfig of an administrator.
        webhook_client_authority: CA of the client certificate with which the API server calls webhooks.
        audit: The audit log: call `audit.offset()`, and later `audit.events(since=offset, user=…, verb=…)`.
        programs: The executables.
    """

    def __init__(self, site: Site, programs: Programs, options: Options, *, temporary: bool) -> None:
        self.folder = site.folder
        self.url = site.cluster.url
        self.authority = site.cluster.authority
        self.kubeconfig = site.admin_kubeconfig
        self.webhook_client_authority = site.webhook_authority.pair.certificate
        self.audit = AuditLog(site.folder / "audit.log")
        self.programs = programs
        self._site = site
        self._temporary = temporary
        self._processes = {
            component: ManagedProcess(
                component,
                server.argv,
                log=site.folder / f"{component}.log",
                env=self._environment(None),
                ready=server.ready,
                timeout=_START_SECONDS,
            )
            for component, server in servers(site, programs, options).items()
        }

    @classmethod
    def start(
        cls, folder: Path | None = None, *, options: Options | None = None, programs: Programs | None = None
    ) -> ControlPlane:
        """Start a control plane and wait until pods can run on it; about 6 s.

        Args:
            folder: Folder of its files, which stay; None for a temporary one, which is removed when this process ends.
            options: Options that differ from the defaults.
            programs: The executables; if None, they are built first if needed.

        Raises:
            BuildError: A program could not be built.
            ControlPlaneError: The folder contains another control plane.
            ProcessError: A component did not become ready; the message has the end of its log.
        """
        programs = programs or ensure()
        options = options or Options()
        temporary = folder is None
        folder = Path(tempfile.mkdtemp(prefix="plane-")) if folder is None else folder.absolute()
        if temporary:
            Supervisor.shared().adopt_folder(folder)
        if (folder / "etcd").exists():
            raise ControlPlaneError(f"{folder} holds a control plane already: choose another folder, or remove it")
        plane = cls(Site.prepare(folder), programs, options, temporary=temporary)
        try:
            plane._bring_up(options)
        except ControlPlaneError:
            plane._kill_all()
            Supervisor.shared().release_folder(folder)  # it stays, because the message names a log in it
            raise
        except BaseException:
            plane.stop()
            raise
        return plane

    def stop(self) -> None:
        """Stop all components in reverse order, and remove a temporary folder. It can be called twice."""
        self._kill_all()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
            Supervisor.shared().release_folder(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Faults

    def process(self, component: Component | str) -> ManagedProcess:
        """Return the process of a component, given as `Component` or its value such as `"apiserver"`."""
        return self._processes[Component(component)]

    def freeze(self, component: Component | str) -> None:
        """Stop a component by SIGSTOP, and return when it has stopped."""
        self.process(component).freeze()

    def thaw(self, component: Component | str) -> None:
        """Let a frozen component continue."""
        self.process(component).thaw()

    def kill(self, component: Component | str) -> None:
        """End a component by SIGKILL."""
        self.process(component).kill()

    def restart(self, component: Component | str) -> None:
        """Kill a component if it runs, start it on the same port, and wait until it is ready."""
        process = self.process(component)
        process.kill()
        if component == Component.KWOK:
            # The killed process holds its nodes by leases of 40 s, and a new process has another identity.
            leases = ("leases", "--all", "--namespace=kube-node-lease", "--request-timeout=5s")
            self.kubectl("delete", *leases, check=False)
        process.start()

    def compact(self) -> int:
        """Compact etcd to the current revision, and return it.

        Afterwards a LIST that continues an old page gets 410 Gone. So does a watch from an old resourceVersion, but
        only after a restart of the API server, because its watch cache still has the older versions.
        """
        return etcd.compact(self._site.etcd_url)

    # Commands

    def kubectl(
        self,
        *args: str | Path,
        input: str | None = None,  # noqa: A002 - the name is that of subprocess.run
        kubeconfig: Path | None = None,
        check: bool = True,
        timeout: float = _COMMAND_SECONDS,
    ) -> Result:
        """Run the real kubectl.

        Args:
            *args: Its arguments.
            input: Its standard input, for `-f -`.
            kubeconfig: Another kubeconfig than the administrator's.
            check: Whether an exit code other than 0 is an error.
            timeout: Seconds that it may take.

        Raises:
            CommandError: It failed (with `check`) or took too long.
        """
        return commands.run(
            [self.programs.kubectl, *args],
            input=input,
            env=self._environment(kubeconfig),
            check=check,
            timeout=timeout,
        )

    def helm(
        self,
        *args: str | Path,
        kubeconfig: Path | None = None,
        check: bool = True,
        timeout: float = _COMMAND_SECONDS,
    ) -> Result:
        """Run the real helm; arguments and errors as for `kubectl`."""
        return commands.run(
            [self.programs.helm, *args],
            input=None,
            env=self._environment(kubeconfig),
            check=check,
            timeout=timeout,
        )

    def apply(
        self, manifest: str | Mapping[str, Any] | Sequence[Mapping[str, Any]], *args: str, namespace: str | None = None
    ) -> Result:
        """Apply YAML or objects by `kubectl apply`.

        Args:
            manifest: YAML text, one object, or several objects.
            *args: Further arguments, such as `--server-side`.
            namespace: Namespace of objects without one.

        Raises:
            CommandError: An object was refused.
        """
        if isinstance(manifest, Mapping):
            manifest = [manifest]
        if not isinstance(manifest, str):
            manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifest)})
        in_namespace = () if namespace is None else ("--namespace", namespace)
        return self.kubectl("apply", *in_namespace, *args, "-f", "-", input=manifest)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Return the current state of an object.

        Raises:
            CommandError: The object does not exist.
        """
        in_namespace = () if namespace is None else ("--namespace", namespace)
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, *in_namespace, "-o", "json").stdout)
        return found

    def kubeconfig_for(self, service_account: str, namespace: str) -> Path:
        """Write a kubeconfig of an existing ServiceAccount with a token for a day, and return its path."""
        token = self.kubectl(
            "create", "token", service_account, "--namespace", namespace, "--duration=24h"
        ).stdout.strip()
        path = self.folder / "kubeconfigs" / f"{namespace}.{service_account}.kubeconfig"
        return self._site.cluster.write_kubeconfig(path, token, namespace=namespace)

    def wait_for(self, predicate: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
        """Call a predicate until its result is true, and return it; arguments and errors as of `polling.wait_for`."""
        return wait_for(predicate, timeout, what)

    def _kill_all(self) -> None:
        # No data of a test has to be saved, and SIGKILL also ends frozen processes.
        for process in reversed(self._processes.values()):
            process.kill()

    def _bring_up(self, options: Options) -> None:
        self._processes[Component.ETCD].start()
        self._processes[Component.APISERVER].start()
        others = (Component.CONTROLLER_MANAGER, Component.SCHEDULER, Component.KWOK)
        for component in others:
            self._processes[component].spawn()
        if options.nodes:
            self.apply([fake_node(number) for number in range(1, options.nodes + 1)])
        for component in others:
            self._processes[component].wait_ready()
        self.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace=default", "--timeout=60s")
        if options.nodes:
            self.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")

    def _environment(self, kubeconfig: Path | None) -> dict[str, str]:
        # A separate home folder, so that plugins, aliases, caches and repositories of the user are not used.
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
        }
