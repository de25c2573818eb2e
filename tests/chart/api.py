"""The API server for a node: an administrator's requests by `kubectl proxy`."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.controlplane import ControlPlane
from tests.controlplane.ports import free_ports
from tests.controlplane.process import ManagedProcess

Object = dict[str, Any]


class MissingError(Exception):
    """The object does not exist."""


class Api:
    """Requests with an administrator's rights.

    Args:
        plane: The control plane.
        folder: Folder of the proxy's log.

    Attributes:
        process: The proxy, which has to be started and ended.
    """

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        (port,) = free_ports(1)
        self._url = f"http://127.0.0.1:{port}"
        argv: list[str | Path] = [plane.programs.kubectl, "proxy", f"--port={port}", f"--kubeconfig={plane.kubeconfig}"]
        self.process = ManagedProcess(
            "kubectl-proxy", argv, log=folder / "proxy.log", ready=lambda: bool(self.get("/version"))
        )

    def get(self, path: str) -> Object:
        """Return an object or a list."""
        return self._request("GET", path)

    def patch(self, path: str, patch: Object) -> None:
        """Change an object by a strategic merge patch."""
        self._request("PATCH", path, patch, "application/strategic-merge-patch+json")

    def delete(self, path: str) -> None:
        """Delete an object."""
        self._request("DELETE", path)

    def secret(self, namespace: str, name: str, key: str) -> str:
        """Return an entry of a Secret."""
        return base64.b64decode(self.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")["data"][key]).decode()

    def token(self, namespace: str, account: str, pod: str, uid: str) -> str:
        """Return a token of a ServiceAccount that is bound to a pod."""
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        request = {"spec": {"audiences": ["https://kubernetes.default.svc"], "boundObjectRef": bound}}
        return str(self._request("POST", path, request)["status"]["token"])

    def _request(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the URL is on loopback
            self._url + path, data=data, method=method, headers={"Content-Type": kind}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
                answer: Object = json.loads(response.read())
                return answer
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    raise MissingError(path) from None
                raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from None
