"""rollonce under test: real server processes, registered with a real API server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from certs.authority import Authority, issue_leaf, new_authority
from certs.names import ServingNames
from certs.pem import encode_certificates
from tests import ledger
from tests.balancer import Balancer
from tests.controlplane import ControlPlane
from tests.controlplane.kubeconfig import write_private
from tests.controlplane.ports import free_ports
from tests.controlplane.process import ManagedProcess
from tests.e2e.objects import run

ROOT = Path(__file__).resolve().parent.parent
RUN_CRD = ROOT / "tests" / "e2e" / "crd.yaml"
DELIVERY_LABEL = "jangar.proompteng.ai/delivery-id"

_PROBE = json.dumps(run("probe", name="probe"))
_HOST = "127.0.0.1"
_NAMESPACE = "rollonce"
_NAMES = ServingNames("rollonce", _NAMESPACE, hosts=("localhost",), addresses=(ip_address(_HOST),))


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of a program.

    Attributes:
        process: The process, which a test can freeze, kill and restart.
        port: Port of the admission reviews; 0 for a controller.
        health_port: Port of health checks and metrics.
    """

    process: ManagedProcess
    port: int
    health_port: int

    def health(self, path: str) -> tuple[int, str]:
        """Request a path of the health port; return the status and the text."""
        return _get(f"http://{_HOST}:{self.health_port}{path}")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all series that have these labels."""
        total = 0.0
        for line in self.health("/metrics")[1].splitlines():
            series, _, number = line.rpartition(" ")
            bare, _, given = series.partition("{")
            if bare == name and all(f'{key}="{value}"' in given for key, value in labels.items()):
                total += float(number)
        return total


@dataclass(frozen=True, slots=True)
class SelfManaged:
    """Settings of an installation whose programs create the certificates themselves.

    Attributes:
        namespace: Namespace of the installation, with the CA Secret and the Lease.
        settings: Further arguments of both programs, such as lifetimes.
        controllers: Number of controller processes.
        kubeconfig: Credentials of the controllers; by default those of the servers.
        controller_settings: Further arguments of the controllers.
    """

    namespace: str
    settings: tuple[str, ...] = ()
    controllers: int = 1
    kubeconfig: Path | None = None
    controller_settings: tuple[str, ...] = ()


@dataclass
class Installation:
    """Server processes behind one address, and their webhook configurations.

    Begin with `Installation.start`; use it as a context manager, or call `stop`.

    Attributes:
        plane: The control plane that calls the servers.
        folder: Folder for certificates and logs.
        authority: The CA of the servers, if certificates are not self-managed.
        balancer: The address that the API server calls.
        managed: Settings of self-managed certificates; None if the test creates the certificates.
        module: Python module that is run.
        replicas: The server processes.
        controllers: The controller processes, if certificates are self-managed.
    """

    plane: ControlPlane
    folder: Path
    authority: Authority
    balancer: Balancer
    managed: SelfManaged | None = None
    module: str = "webhook"
    replicas: list[Replica] = field(default_factory=list)
    controllers: list[Replica] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        plane: ControlPlane,
        folder: Path,
        *,
        redis_url: str,
        replicas: int = 1,
        kubeconfig: Path | None = None,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        register: bool = True,
        managed: SelfManaged | None = None,
        module: str = "webhook",
    ) -> Installation:
        """Start servers, wait until they are ready, and register them.

        Args:
            plane: The control plane; the CustomResourceDefinition of runs, the namespace and the state ConfigMap of
                the installation are applied to it, and runs of earlier installations are deleted.
            folder: Folder for certificates and logs.
            redis_url: URL of the deduplication store.
            replicas: Number of server processes.
            kubeconfig: Credentials of the servers; by default those of an administrator.
            settings: Further arguments of `rollonce serve`.
            environment: Further environment variables.
            register: Whether the webhook configurations are applied.
            managed: Lets the programs create the certificates; the configurations are then applied before the start,
                without certificates.
            module: Python module to run: rollonce, or rollonce with further features.
        """
        now = datetime.now(UTC)
        authority = new_authority(_NAMES, now=now, lifetime=timedelta(days=1))
        made = cls(plane, folder, authority, Balancer(), managed, module)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_bytes(encode_certificates((authority.certificate,)))
        try:
            plane.kubectl("apply", "-f", RUN_CRD)
            plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", RUN_CRD)
            ledger.install(plane, managed.namespace if managed else _NAMESPACE)
            if register and managed:
                # Readiness waits for the bundle in the configurations; a second apply does not change it.
                made.apply()
            made._spawn(replicas, kubeconfig or plane.kubeconfig, redis_url, settings, environment or {})
            for replica in (*made.replicas, *made.controllers):
                replica.process.wait_ready()
            made.balancer.ports = tuple(replica.port for replica in made.replicas)
            if register:
                made.register()
        except BaseException:
            made.stop()
            raise
        return made

    def register(self) -> None:
        """Apply the webhook configurations, and wait until the API server calls the webhooks."""
        self.apply()
        self.plane.wait_for(self._is_called, what="the API server to call the webhooks")

    def apply(self) -> None:
        """Apply the webhook configurations."""
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=self.configurations())

    def _is_called(self) -> bool:
        created = self.plane.kubectl(
            "create", "--dry-run=server", "-o", "json", "-n", "default", "-f", "-", input=_PROBE, check=False
        )
        return created.returncode == 0 and DELIVERY_LABEL in created.stdout

    def unregister(self) -> None:
        """Delete the webhook configurations."""
        self.plane.kubectl("delete", "--ignore-not-found", "-f", "-", input=self.configurations())

    def configurations(self) -> str:
        """Return the webhook configurations as the command line prints them."""
        bundle = () if self.managed else (f"--ca-file={self.folder / 'ca.crt'}",)
        return command("webhooks", *self.identity, *bundle, module=self.module)

    @property
    def identity(self) -> tuple[str, ...]:
        """The arguments that say which installation a program belongs to, and how the API server calls it."""
        namespace = self.managed.namespace if self.managed else _NAMESPACE
        return f"--namespace={namespace}", f"--webhooks-url={self.url}"

    @property
    def url(self) -> str:
        """The URL that the API server calls."""
        return f"https://{_HOST}:{self.balancer.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        """The TLS context of a client that trusts the servers."""
        if not self.managed:
            return ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        secret = self.plane.get("secret", "rollonce-ca", self.managed.namespace)["data"]
        authorities = [base64.b64decode(secret[key]).decode() for key in ("ca.crt", "previous.crt") if key in secret]
        return ssl.create_default_context(cadata="".join(authorities))

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all replicas."""
        return sum(replica.metric(name, **labels) for replica in self.replicas)

    def stop(self) -> None:
        """Delete the webhook configurations, then stop the servers."""
        with contextlib.suppress(Exception):
            self.unregister()
        for replica in (*self.replicas, *self.controllers):
            replica.process.kill()
        self.balancer.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def certificate_settings(self) -> tuple[str, ...]:
        """Return the arguments that must be equal for all programs that manage the certificates."""
        assert self.managed
        return (*self.identity, f"--tls-extra-names=localhost,{_HOST}", *self.managed.settings)

    def _spawn(
        self, replicas: int, kubeconfig: Path, redis_url: str, settings: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        for number in range(replicas):
            certificates = self.certificate_settings() if self.managed else self._issue(number)
            arguments = (f"--redis-url={redis_url}", *certificates, *settings)
            self.replicas.append(self._program("serve", number, kubeconfig, arguments, environment))
        if not self.managed:
            return
        for number in range(self.managed.controllers):
            account = self.managed.kubeconfig or kubeconfig
            more = self.managed.controller_settings
            arguments = (f"--redis-url={redis_url}", *self.certificate_settings(), *more)
            self.controllers.append(self._program("controller", number, account, arguments, environment))

    def _issue(self, number: int) -> tuple[str, ...]:
        pair = issue_leaf(self.authority, _NAMES, now=datetime.now(UTC), lifetime=timedelta(days=1))
        certificate = self.folder / f"server-{number}.crt"
        certificate.write_bytes(pair.chain_pem)
        key = write_private(self.folder / f"server-{number}.key", pair.key_pem.decode())
        return *self.identity, f"--tls-certificate={certificate}", f"--tls-key={key}"

    def _program(
        self, program: str, number: int, kubeconfig: Path, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> Replica:
        port, health_port = free_ports(2)
        listen = (f"--listen={_HOST}:{port}",) if program == "serve" else ()
        name = f"{'server' if program == 'serve' else program}-{number}"
        process = ManagedProcess(
            name,
            (
                *(sys.executable, "-m", self.module, program),
                *listen,
                f"--health-listen={_HOST}:{health_port}",
                f"--kubeconfig={kubeconfig}",
                *arguments,
            ),
            log=self.folder / f"{name}.log",
            env={**os.environ, **environment},
            cwd=ROOT,
            ready=lambda: _get(f"http://{_HOST}:{health_port}/readyz")[0] == 200,
        )
        return Replica(process.spawn(), port, health_port)


def command(*arguments: str, module: str = "webhook") -> str:
    """Run a `rollonce` command and return its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the URL is on loopback
            return int(response.status), response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
