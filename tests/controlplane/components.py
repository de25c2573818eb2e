"""The five servers of a control plane: what each is told, and how it says that it is ready."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.controlplane.audit import AuditLevel, audit_policy
from tests.controlplane.kubeconfig import Cluster, credentials, write_private
from tests.controlplane.pki import Authority, KeyPair, signing_key
from tests.controlplane.ports import free_ports
from tests.controlplane.programs import Programs

Argv = tuple[str | Path, ...]

_HOST = "127.0.0.1"
_PROBE_SECONDS = 2.0
_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", _HOST, "10.0.0.1")


class Component(StrEnum):
    """The servers, in the order in which they start."""

    ETCD = "etcd"
    APISERVER = "apiserver"
    CONTROLLER_MANAGER = "controller-manager"
    SCHEDULER = "scheduler"
    KWOK = "kwok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a test may want otherwise.

    Attributes:
        nodes: How many of kwok's nodes there are.
        durable: Whether etcd waits for the disk; only a test that cuts the power needs it.
        audit_level: How much of each request the audit log holds. Bodies of Secrets and ConfigMaps are never in it.
        apiserver_args: Flags for the API server, such as `--max-requests-inflight=30`; the last one of a name counts.
        etcd_args: Flags for etcd.
        controller_manager_args: Flags for the controller manager.
        scheduler_args: Flags for the scheduler.
        kwok_args: Flags for kwok.
    """

    nodes: int = 2
    durable: bool = False
    audit_level: AuditLevel = AuditLevel.METADATA
    apiserver_args: tuple[str, ...] = ()
    etcd_args: tuple[str, ...] = ()
    controller_manager_args: tuple[str, ...] = ()
    scheduler_args: tuple[str, ...] = ()
    kwok_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """How one component is started and asked whether it is ready."""

    argv: Argv
    ready: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Site:
    """Files and ports of one control plane.

    Attributes:
        folder: Where all its files are.
        cluster: How its API server is reached.
        etcd_url: How etcd is reached: without TLS, so that a test can speak to it as simply as possible.
        ports: The port of each component.
        etcd_peer_port: The port on which etcd would speak to other members.
        authority: Vouches for the API server and for every client.
        serving: The certificate of everything that serves.
        tokens: Signs the tokens of ServiceAccounts.
        webhook_authority: Vouches for the API server when it calls webhooks; a separate one, so that a webhook
            that trusts it trusts nobody else.
        admin_kubeconfig: Of a member of system:masters.
    """

    folder: Path
    cluster: Cluster
    etcd_url: str
    ports: dict[Component, int]
    etcd_peer_port: int
    authority: Authority
    serving: KeyPair
    tokens: KeyPair
    webhook_authority: Authority
    admin_kubeconfig: Path

    @classmethod
    def prepare(cls, folder: Path) -> Site:
        """Choose ports and write certificates and kubeconfigs."""
        *ports, peer = free_ports(len(Component) + 1)
        port = dict(zip(Component, ports, strict=True))
        pki = folder / "pki"
        authority = Authority.create(pki, "ca")
        cluster = Cluster(f"https://{_HOST}:{port[Component.APISERVER]}", authority.pair.certificate)
        admin = authority.issue("admin", common_name="admin", organization="system:masters")
        return cls(
            folder=folder,
            cluster=cluster,
            etcd_url=f"http://{_HOST}:{port[Component.ETCD]}",
            ports=port,
            etcd_peer_port=peer,
            authority=authority,
            serving=authority.issue("serving", common_name="kube-apiserver", hosts=_SERVICE_NAMES),
            tokens=signing_key(pki, "tokens"),
            webhook_authority=Authority.create(pki, "webhook-client-ca"),
            admin_kubeconfig=cluster.write_kubeconfig(folder / "admin.kubeconfig", admin),
        )

    def servers(self, programs: Programs, options: Options) -> dict[Component, Server]:
        """Return how each component is started."""
        return {
            Component.ETCD: self._etcd(programs, options),
            Component.APISERVER: self._apiserver(programs, options),
            Component.CONTROLLER_MANAGER: self._controller_manager(programs, options),
            Component.SCHEDULER: self._scheduler(programs, options),
            Component.KWOK: self._kwok(programs, options),
        }

    def _etcd(self, programs: Programs, options: Options) -> Server:
        peer = f"http://{_HOST}:{self.etcd_peer_port}"
        argv: Argv = (
            programs.etcd,
            "--name=default",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
            *(() if options.durable else ("--unsafe-no-fsync",)),
            *options.etcd_args,
        )
        return Server(argv, lambda: _answers(self.ports[Component.ETCD], "/readyz", None))

    def _apiserver(self, programs: Programs, options: Options) -> Server:
        argv: Argv = (
            programs.kube_apiserver,
            f"--etcd-servers={self.etcd_url}",
            *self._secure(Component.APISERVER),
            f"--advertise-address={_HOST}",
            "--endpoint-reconciler-type=none",  # no Endpoints may hold a loopback address
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            f"--client-ca-file={self.authority.pair.certificate}",
            f"--authentication-config={self._write_json('authentication.json', _AUTHENTICATION)}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.tokens.certificate}",
            f"--service-account-signing-key-file={self.tokens.key}",
            f"--admission-control-config-file={self._admission_config()}",
            f"--audit-policy-file={self._write_json('audit-policy.json', audit_policy(options.audit_level))}",
            f"--audit-log-path={self.folder / 'audit.log'}",
            "--audit-log-maxsize=100000",  # MiB: never rotated, so that offsets stay valid
            *options.apiserver_args,
        )
        return Server(argv, lambda: _answers(self.ports[Component.APISERVER], "/readyz", self._trust()))

    def _controller_manager(self, programs: Programs, options: Options) -> Server:
        argv: Argv = (
            programs.kube_controller_manager,
            *self._client("kube-controller-manager"),
            *self._secure(Component.CONTROLLER_MANAGER),
            "--leader-elect=false",
            "--use-service-account-credentials=true",  # each controller is a user of its own in the audit log
            f"--service-account-private-key-file={self.tokens.key}",
            f"--root-ca-file={self.authority.pair.certificate}",
            "--kube-api-qps=500",  # its default of 20 would be what a test with many objects measures
            "--kube-api-burst=1000",
            *options.controller_manager_args,
        )
        return Server(argv, lambda: _answers(self.ports[Component.CONTROLLER_MANAGER], "/healthz", self._trust()))

    def _scheduler(self, programs: Programs, options: Options) -> Server:
        argv: Argv = (
            programs.kube_scheduler,
            *self._client("kube-scheduler"),
            *self._secure(Component.SCHEDULER),
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            *options.scheduler_args,
        )
        return Server(argv, lambda: _answers(self.ports[Component.SCHEDULER], "/healthz", self._trust()))

    def _kwok(self, programs: Programs, options: Options) -> Server:
        argv: Argv = (
            programs.kwok,
            *self._client("kwok", organization="system:masters"),
            f"--config={programs.kwok_stages}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
            f"--server-address={_HOST}:{self.ports[Component.KWOK]}",
            *options.kwok_args,
        )
        return Server(argv, lambda: _answers(self.ports[Component.KWOK], "/healthz", None))

    def _secure(self, component: Component) -> tuple[str, ...]:
        return (
            f"--bind-address={_HOST}",
            f"--secure-port={self.ports[component]}",
            f"--tls-cert-file={self.serving.certificate}",
            f"--tls-private-key-file={self.serving.key}",
        )

    def _client(self, name: str, *, organization: str | None = None) -> tuple[str, ...]:
        pair = self.authority.issue(name, common_name=f"system:{name}", organization=organization)
        path = self.cluster.write_kubeconfig(self.folder / f"{name}.kubeconfig", pair)
        return (f"--kubeconfig={path}",)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cluster.authority))

    def _admission_config(self) -> Path:
        """Have the API server show a client certificate to every webhook that asks for one.

        https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers
        """
        pair = self.webhook_authority.issue("webhook-client", common_name="kube-apiserver")
        everywhere = {"name": "*", "user": credentials(pair)}
        kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [everywhere]}
        path = self._write_json("webhook-client.kubeconfig", kubeconfig)
        configuration = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": str(path),
        }
        plugins = [
            {"name": name, "configuration": configuration}
            for name in ("MutatingAdmissionWebhook", "ValidatingAdmissionWebhook")
        ]
        document = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": plugins,
        }
        return self._write_json("admission.json", document)

    def _write_json(self, name: str, document: object) -> Path:
        return write_private(self.folder / name, json.dumps(document, indent=2))


_AUTHENTICATION = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AuthenticationConfiguration",
    "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ("/livez", "/readyz", "/healthz")]},
}
"""Who does not say who he is may ask for health and for nothing else."""


def _answers(port: int, path: str, trust: ssl.SSLContext | None) -> bool:
    """Ask a health endpoint; an OSError means that nobody listens yet."""
    connection = (
        http.client.HTTPConnection(_HOST, port, timeout=_PROBE_SECONDS)
        if trust is None
        else http.client.HTTPSConnection(_HOST, port, timeout=_PROBE_SECONDS, context=trust)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
