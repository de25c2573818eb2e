"""A control plane: started, asked, broken and stopped."""

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

    Begin with `ControlPlane.start`; use it as a context manager, or call `stop`. Not for use from several threads while
    components are frozen, killed or restarted; commands may run side by side.

    Attributes:
        folder: Where its files and logs are; a component's log is `<component>.log`.
        url: Of the API server.
        authority: The CA certificate of the API server.
        kubeconfig: Of an administrator.
        webhook_client_authority: The CA certificate behind the certificate that the API server shows to webhooks.
        audit: The audit log: `audit.offset()` now, `audit.events(since=offset, user=…, verb=…)` later.
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
            folder: For its files, which stay; None for a temporary one, which is removed however this process ends.
            options: What shall differ from the usual.
            programs: The executables; built first where None is given and they do not exist.

        Raises:
            BuildError: A program could not be built.
            ControlPlaneError: The folder holds another one.
            ProcessError: A component did not become ready; with the end of its log.
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
            Supervisor.shared().release_folder(folder)  # it stays: the message names a log in it
            raise
        except BaseException:
            plane.stop()
            raise
        return plane

    def stop(self) -> None:
        """Stop everything, last started first, and remove the folder if it was a temporary one. Can be called twice."""
        self._kill_all()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
            Supervisor.shared().release_folder(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Faults

    def process(self, component: Component | str) -> ManagedProcess:
        """Return the process of a component, given as `Component` or its value such as `"apiserver"`."""
        return self._processes[Component(component)]

    def freeze(self, component: Component | str) -> None:
        """Stop a component in its tracks; when this returns, it stands still."""
        self.process(component).freeze()

    def thaw(self, component: Component | str) -> None:
        """Let a frozen component go on."""
        self.process(component).thaw()

    def kill(self, component: Component | str) -> None:
        """End a component as `kill -9` does."""
        self.process(component).kill()

    def restart(self, component: Component | str) -> None:
        """Kill a component if it runs, start it on the same port, and wait until it is ready."""
        process = self.process(component)
        process.kill()
        if component == Component.KWOK:
            # The one killed holds its nodes by leases of 40 s, and each kwok is somebody new: do not wait for that.
            leases = ("leases", "--all", "--namespace=kube-node-lease", "--request-timeout=5s")
            self.kubectl("delete", *leases, check=False)
        process.start()

    def compact(self) -> int:
        """Have etcd forget all but the current state, and return its revision.

        After this, a LIST that continues an old page is answered 410 Gone. So is a watch from an old resourceVersion
        once the API server was restarted: before, its watch cache still remembers.
        """
        return etcd.compact(self._site.etcd_url)

    # Commands

    def kubectl(
        self,
        *args: str | Path,
        input: str | None = None,  # noqa: A002 - the name that subprocess.run gave it
        kubeconfig: Path | None = None,
        check: bool = True,
        timeout: float = _COMMAND_SECONDS,
    ) -> Result:
        """Run the real kubectl.

        Args:
            *args: Its arguments.
            input: Its standard input, for `-f -`.
            kubeconfig: Instead of the administrator's.
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
            manifest: YAML text, one object, or several.
            *args: More arguments, such as `--server-side`.
            namespace: For objects that name none.

        Raises:
            CommandError: Something was refused.
        """
        if isinstance(manifest, Mapping):
            manifest = [manifest]
        if not isinstance(manifest, str):
            manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifest)})
        place = () if namespace is None else ("--namespace", namespace)
        return self.kubectl("apply", *place, *args, "-f", "-", input=manifest)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Return an object as the API server has it now.

        Raises:
            CommandError: There is none.
        """
        place = () if namespace is None else ("--namespace", namespace)
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, *place, "-o", "json").stdout)
        return found

    def kubeconfig_for(self, service_account: str, namespace: str) -> Path:
        """Write a kubeconfig of a ServiceAccount that exists, with a token for a day, and return its path."""
        token = self.kubectl(
            "create", "token", service_account, "--namespace", namespace, "--duration=24h"
        ).stdout.strip()
        path = self.folder / "kubeconfigs" / f"{namespace}.{service_account}.kubeconfig"
        return self._site.cluster.write_kubeconfig(path, token, namespace=namespace)

    def wait_for(self, predicate: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
        """Ask until the answer is true, and return it; arguments and errors as for `polling.wait_for`."""
        return wait_for(predicate, timeout, what)

    def _kill_all(self) -> None:
        # Nothing of a test's control plane has to be saved, and frozen processes obey this too.
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
        # A home of its own: nobody's plugins, aliases, caches or repositories take part.
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
        }
