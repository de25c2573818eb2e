"""The five servers: their arguments and their readiness checks."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.audit import audit_policy
from tests.controlplane.options import Component, Options
from tests.controlplane.programs import Programs
from tests.controlplane.site import HOST, Site

Argv = tuple[str | Path, ...]

_PROBE_SECONDS = 2.0

_AUTHENTICATION = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AuthenticationConfiguration",
    "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ("/livez", "/readyz", "/healthz")]},
}
"""Anonymous requests are allowed to the health endpoints only."""


@dataclass(frozen=True, slots=True)
class Server:
    """The command of a component and its readiness check."""

    argv: Argv
    ready: Callable[[], bool]


def servers(site: Site, programs: Programs, options: Options) -> dict[Component, Server]:
    """Return the command and readiness check of each component."""
    return {
        Component.ETCD: _etcd(site, programs, options),
        Component.APISERVER: _apiserver(site, programs, options),
        Component.CONTROLLER_MANAGER: _controller_manager(site, programs, options),
        Component.SCHEDULER: _scheduler(site, programs, options),
        Component.KWOK: _kwok(site, programs, options),
    }


def _etcd(site: Site, programs: Programs, options: Options) -> Server:
    peer = f"http://{HOST}:{site.etcd_peer_port}"
    argv: Argv = (
        programs.etcd,
        "--name=default",
        f"--data-dir={site.folder / 'etcd'}",
        f"--listen-client-urls={site.etcd_url}",
        f"--advertise-client-urls={site.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        *(() if options.durable else ("--unsafe-no-fsync",)),
        *options.etcd_args,
    )
    return Server(argv, lambda: _answers(site.ports[Component.ETCD], "/readyz", None))


def _apiserver(site: Site, programs: Programs, options: Options) -> Server:
    argv: Argv = (
        programs.kube_apiserver,
        f"--etcd-servers={site.etcd_url}",
        *_secure(site, Component.APISERVER),
        f"--advertise-address={HOST}",
        "--endpoint-reconciler-type=none",  # Endpoints must not contain a loopback address
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={site.authority.pair.certificate}",
        f"--authentication-config={site.write_json('authentication.json', _AUTHENTICATION)}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={site.tokens.certificate}",
        f"--service-account-signing-key-file={site.tokens.key}",
        f"--admission-control-config-file={site.write_admission_config()}",
        f"--audit-policy-file={site.write_json('audit-policy.json', audit_policy(options.audit_level))}",
        f"--audit-log-path={site.folder / 'audit.log'}",
        "--audit-log-maxsize=100000",  # MiB: never rotated, so that offsets stay valid
        *options.apiserver_args,
    )
    return Server(argv, lambda: _answers(site.ports[Component.APISERVER], "/readyz", _trust(site)))


def _controller_manager(site: Site, programs: Programs, options: Options) -> Server:
    argv: Argv = (
        programs.kube_controller_manager,
        f"--kubeconfig={site.client_kubeconfig('kube-controller-manager')}",
        *_secure(site, Component.CONTROLLER_MANAGER),
        "--leader-elect=false",
        "--use-service-account-credentials=true",  # each controller has its own user in the audit log
        f"--service-account-private-key-file={site.tokens.key}",
        f"--root-ca-file={site.authority.pair.certificate}",
        "--kube-api-qps=500",  # the default of 20 would slow down tests with many objects
        "--kube-api-burst=1000",
        *options.controller_manager_args,
    )
    return Server(argv, lambda: _answers(site.ports[Component.CONTROLLER_MANAGER], "/healthz", _trust(site)))


def _scheduler(site: Site, programs: Programs, options: Options) -> Server:
    argv: Argv = (
        programs.kube_scheduler,
        f"--kubeconfig={site.client_kubeconfig('kube-scheduler')}",
        *_secure(site, Component.SCHEDULER),
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        *options.scheduler_args,
    )
    return Server(argv, lambda: _answers(site.ports[Component.SCHEDULER], "/healthz", _trust(site)))


def _kwok(site: Site, programs: Programs, options: Options) -> Server:
    argv: Argv = (
        programs.kwok,
        f"--kubeconfig={site.client_kubeconfig('kwok', organization='system:masters')}",
        f"--config={programs.kwok_stages}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
        f"--server-address={HOST}:{site.ports[Component.KWOK]}",
        *options.kwok_args,
    )
    return Server(argv, lambda: _answers(site.ports[Component.KWOK], "/healthz", None))


def _secure(site: Site, component: Component) -> tuple[str, ...]:
    return (
        f"--bind-address={HOST}",
        f"--secure-port={site.ports[component]}",
        f"--tls-cert-file={site.serving.certificate}",
        f"--tls-private-key-file={site.serving.key}",
    )


def _trust(site: Site) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(site.cluster.authority))


def _answers(port: int, path: str, trust: ssl.SSLContext | None) -> bool:
    """Return whether a health endpoint answers 200.

    Raises:
        OSError: The connection failed, for example because the server does not listen yet.
    """
    connection = (
        http.client.HTTPConnection(HOST, port, timeout=_PROBE_SECONDS)
        if trust is None
        else http.client.HTTPSConnection(HOST, port, timeout=_PROBE_SECONDS, context=trust)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
