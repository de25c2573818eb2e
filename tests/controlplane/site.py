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
        """Have the API server show a client certificate to every webhook that asks for one.

        https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers
        """
        pair = self.webhook_authority.issue("webhook-client", common_name="kube-apiserver")
        everywhere = {"name": "*", "user": credentials(pair)}
        kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [everywhere]}
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
