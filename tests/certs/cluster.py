"""The real API server, as `certs` calls it, and webhook configurations for it."""

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yaml

from certs.errors import ApiUnavailableError
from certs.tls import _as_file
from tests.controlplane import ControlPlane

GROUP = "admissionregistration.k8s.io/v1"


@dataclass
class RealApi:
    """`certs.api.CertificateApi` by aiohttp.

    Attributes:
        session: The connections.
        url: The API server.
        calls: Method and path of each call.
        before: Called with method and path before each call; a test does there what others do in between.
    """

    session: aiohttp.ClientSession
    url: str
    calls: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, str], None] | None = None

    async def get(self, path: str) -> tuple[int, bytes]:
        """GET."""
        return await self._call("GET", path, None, "application/json")

    async def request(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, bytes]:
        """Write."""
        return await self._call(method, path, body, content_type)

    async def _call(self, method: str, path: str, body: bytes | None, content_type: str) -> tuple[int, bytes]:
        self.calls.append((method, path))
        if self.before:
            self.before(method, path)
        headers = {"Content-Type": content_type}
        try:
            async with self.session.request(method, self.url + path, data=body, headers=headers) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiUnavailableError(f"{method} {path}: {type(error).__name__}") from error


@asynccontextmanager
async def connected(plane: ControlPlane, kubeconfig: str | None = None) -> AsyncIterator[RealApi]:
    """Connect as the administrator, or as the user of a kubeconfig."""
    config = yaml.safe_load(kubeconfig or plane.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authorities = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authorities)
    headers = {}
    if "token" in user:
        headers["Authorization"] = f"Bearer {user['token']}"
    else:
        parts = [base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")]
        with _as_file(b"\n".join(parts)) as path:
            context.load_cert_chain(path)
    connector = aiohttp.TCPConnector(ssl=context)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
        yield RealApi(session, cluster["server"])


def webhook(name: str, *, client: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Return one entry of a configuration, for ConfigMaps of one namespace."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    return {
        "name": name,
        "clientConfig": client,
        "rules": [rule],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        # The API server never calls it: these tests only read what is written to the configuration.
        "matchConditions": [{"name": "never", "expression": "false"}],
    }


def service(namespace: str, name: str = "rollonce") -> dict[str, Any]:
    """Return a client configuration that names a Service."""
    return {"service": {"namespace": namespace, "name": name, "path": "/x"}}


def configuration(kind: str, name: str, *webhooks: dict[str, Any], **labels: str) -> dict[str, Any]:
    """Return a MutatingWebhookConfiguration or ValidatingWebhookConfiguration."""
    metadata = {"name": name, "labels": labels}
    return {
        "apiVersion": GROUP,
        "kind": f"{kind}WebhookConfiguration",
        "metadata": metadata,
        "webhooks": list(webhooks),
    }


def bundles(plane: ControlPlane, kind: str, name: str) -> dict[str, bytes]:
    """Return the caBundle of each webhook by its name; empty if there is none."""
    found = plane.get(f"{kind}webhookconfiguration", name)
    return {
        entry["name"]: base64.b64decode(entry["clientConfig"].get("caBundle", ""))
        for entry in found.get("webhooks", [])
    }
