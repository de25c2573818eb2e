"""The files and ports of one control plane."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.kubeconfig import Cluster, credentials, write_private
from tests.controlplane.options import Component
from tests.controlplane.pki import Authority, KeyPair, signing_key
from tests.controlplane.ports import free_ports

HOST = "127.0.0.1"

_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", HOST, "10.0.0.1")


@dataclass(frozen=True, slots=True)
class Site:
    """Files and ports of one control plane.

    Attributes:
        folder: Folder of all its files.
        cluster: The address of the API server.
        etcd_url: URL of etcd, without TLS, so that tests can call it easily.
        ports: Port of each component.
        etcd_peer_port: Port for other members of etcd.
        authority: CA of the API server and of every client.
        serving: Serving certificate of all components.
        tokens: Key pair that signs tokens of ServiceAccounts.
        webhook_authority: CA of the API server's client certificate for webhooks; a separate one, so that a webhook
            that trusts it trusts no other client.
        admin_kubeconfig: Kubeconfig of a member of system:masters.
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
        cluster = Cluster(f"https://{HOST}:{port[Component.APISERVER]}", authority.pair.certificate)
        admin = authority.issue("admin", common_name="admin", organization="system:masters")
        return cls(
            folder=folder,
            cluster=cluster,
            etcd_url=f"http://{HOST}:{port[Component.ETCD]}",
            ports=port,
            etcd_peer_port=peer,
            authority=authority,
            serving=authority.issue("serving", common_name="kube-apiserver", hosts=_SERVICE_NAMES),
            tokens=signing_key(pki, "tokens"),
            webhook_authority=Authority.create(pki, "webhook-client-ca"),
            admin_kubeconfig=cluster.write_kubeconfig(folder / "admin.kubeconfig", admin),
        )

    def client_kubeconfig(self, name: str, *, organization: str | None = None) -> Path:
        """Write the kubeconfig of a component, the user `system:<name>`, and return its path."""
        pair = self.authority.issue(name, common_name=f"system:{name}", organization=organization)
        return self.cluster.write_kubeconfig(self.folder / f"{name}.kubeconfig", pair)

    def write_admission_config(self) -> Path:
        """Write the configuration by which the API server uses a client certificate for webhooks, and return its path.

        https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers
        """
        pair = self.webhook_authority.issue("webhook-client", common_name="kube-apiserver")
        all_webhooks = {"name": "*", "user": credentials(pair)}
        kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [all_webhooks]}
        path = self.write_json("webhook-client.kubeconfig", kubeconfig)
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
        return self.write_json("admission.json", document)

    def write_json(self, name: str, document: object) -> Path:
        """Write a configuration file and return its path."""
        return write_private(self.folder / name, json.dumps(document, indent=2))
