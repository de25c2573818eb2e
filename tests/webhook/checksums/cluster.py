"""The webhooks of checksums, registered at a real API server; pods are run by kwok."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from certs.authority import issue_leaf, new_authority
from certs.names import ServingNames
from certs.pem import encode_certificates
from tests.controlplane import ControlPlane
from tests.controlplane.commands import Result
from tests.controlplane.kubeconfig import write_private
from tests.webhook.checksums.manifests import CRON_JOB
from tests.webhook.checksums.reviews import checksum_endpoints
from tests.webhook.kube.waiting import eventually
from webhook.admission.registration import (
    NAMESPACE_NAME_LABEL,
    Installation,
    RegistrationOptions,
    UrlEndpoint,
    configurations,
)
from webhook.checksums.core.keys import SECRETS
from webhook.checksums.core.kinds import KINDS
from webhook.checksums.feature import checksums_feature
from webhook.checksums.settings import ChecksumSettings
from webhook.kube.client import KubernetesClient
from webhook.runtime.metrics import ServerMetrics
from webhook.runtime.parsers import Address
from webhook.server.http import AdmissionEndpoint, Limits
from webhook.server.runner import TlsPort, listen

KEY = "checksum/secret.db"
#: All kinds, and one that is added by a row alone.
WITH_CRON_JOBS = (*KINDS, CRON_JOB)
#: States of a TCP connection in /proc/net/tcp: established, and closed by the other side.
_OPEN = ("01", "08")
NAMES = ServingNames("rollonce", "rollonce", addresses=(ip_address("127.0.0.1"),))


@dataclass
class Cluster:
    """A namespace whose workloads are sent to the webhooks.

    Attributes:
        plane: The control plane.
        namespace: The namespace.
        settings: The settings of the webhooks, which a test may change.
    """

    plane: ControlPlane
    namespace: str
    settings: ChecksumSettings

    async def kubectl(self, *arguments: str, tree: Any = None, check: bool = True) -> Result:
        """Run the real kubectl in the namespace, without blocking the webhooks."""
        text = None if tree is None else json.dumps(tree)
        return await asyncio.to_thread(
            self.plane.kubectl, *arguments, f"--namespace={self.namespace}", input=text, check=check
        )

    async def apply(self, tree: Any, *arguments: str, check: bool = True) -> Result:
        """Apply an object."""
        return await self.kubectl("apply", "-f", "-", *arguments, tree=tree, check=check)

    async def secret(self, password: str) -> None:
        """Create or change the Secret `db`."""
        await self.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": password}}
        )

    async def get(self, kind: str = "deployment") -> dict[str, Any]:
        """Return the workload `shop`."""
        found: dict[str, Any] = json.loads((await self.kubectl("get", kind, "shop", "-o", "json")).stdout)
        return found

    async def checksum(self) -> str | None:
        """Return the checksum in its pod template."""
        annotations = (await self.get())["spec"]["template"]["metadata"].get("annotations") or {}
        value: str | None = annotations.get(KEY)
        return value

    async def replica_sets(self) -> int:
        """Return how many ReplicaSets there are."""
        return len(json.loads((await self.kubectl("get", "replicasets", "-o", "json")).stdout)["items"])

    async def rolled_out(self) -> int:
        """Wait for the rollout, and count the ReplicaSets."""
        await self.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
        return await self.replica_sets()


@asynccontextmanager
async def serving(plane: ControlPlane, namespace: str, api: KubernetesClient, folder: Path) -> AsyncIterator[Cluster]:
    """Serve the webhooks in this process, registered for one namespace.

    Args:
        plane: The control plane.
        namespace: The namespace.
        api: The API server, as the webhooks read it.
        folder: For the certificate.
    """
    made = Cluster(plane, namespace, ChecksumSettings())
    now = datetime.now(UTC)
    authority = new_authority(NAMES, now=now, lifetime=timedelta(days=1))
    pair = issue_leaf(authority, NAMES, now=now, lifetime=timedelta(hours=1))
    (folder / "tls.crt").write_bytes(pair.chain_pem)
    key = write_private(folder / "tls.key", pair.key_pem.decode())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "tls.crt", key)
    endpoint = AdmissionEndpoint(
        checksum_endpoints(api, lambda: made.settings, kinds=WITH_CRON_JOBS),
        limits=Limits(),
        metrics=ServerMetrics(CollectorRegistry()),
        log=structlog.get_logger(),
    )
    listener = await listen(
        endpoint.application(), Address("127.0.0.1", 0), tls=TlsPort(tls, frozenset()), setting="--listen"
    )
    bundle = base64.b64encode(encode_certificates((authority.certificate,))).decode()
    (document,) = configurations(
        [webhook.registration for webhook in checksums_feature(WITH_CRON_JOBS).webhooks(RegistrationOptions())],
        Installation(UrlEndpoint(f"https://127.0.0.1:{listener.port}"), bundle, configuration_name=namespace),
    )
    for webhook in document["webhooks"]:
        webhook["namespaceSelector"] = {"matchLabels": {NAMESPACE_NAME_LABEL: namespace}}
        # A failed call must fail the test.
        webhook["failurePolicy"] = "Fail"
    await made.apply(document)
    await _wait_until_called(made)
    yield made
    await made.kubectl("delete", "mutatingwebhookconfiguration", namespace)
    await listener.close()
    # TLS connections are closed when the client has answered; the event loop must not end before.
    await eventually(lambda: not _has_connections(listener.port))


def _has_connections(port: int) -> bool:
    """Return whether a connection that this port has accepted is not closed yet."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(local.endswith(f":{port:04X}") and state in _OPEN for _, local, _, state, *_ in lines)


async def _wait_until_called(cluster: Cluster) -> None:
    """Wait until the API server, which watches the configuration, calls the webhook."""
    async with asyncio.timeout(30):
        while "does not exist" not in (await cluster.apply(shop(), "--dry-run=server")).stderr:
            pass


def shop(kind: str = "Deployment", *, image: str = "shop:1", **spec: Any) -> dict[str, Any]:
    """Return a workload that depends on the Secret `db`."""
    labels = {"app": "shop"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "shop", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "shop", "annotations": {SECRETS: "db"}},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }
