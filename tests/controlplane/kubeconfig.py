"""Kubeconfig files, written as JSON, which is valid YAML."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.pki import KeyPair

_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class Cluster:
    """The address of an API server.

    Attributes:
        url: Such as `https://127.0.0.1:16443`.
        authority: Certificate of the CA that issued its certificate.
    """

    url: str
    authority: Path

    def write_kubeconfig(self, path: Path, user: KeyPair | str, *, namespace: str = "default") -> Path:
        """Write a kubeconfig that refers to no other file, and return its path.

        Args:
            path: The file; only its owner can read it.
            user: A client certificate, or a bearer token.
            namespace: Namespace of requests that give none.
        """
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "plane",
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "plane", "namespace": namespace}}],
            "clusters": [
                {
                    "name": "plane",
                    "cluster": {"server": self.url, "certificate-authority-data": _base64(self.authority)},
                }
            ],
            "users": [{"name": "plane", "user": credentials(user)}],
        }
        return write_private(path, json.dumps(config, indent=2))


def plain_kubeconfig(port: int, folder: Path) -> Path:
    """Write a kubeconfig for an HTTP server on a local port, without TLS, and return its path."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    return write_private(folder / "kubeconfig", json.dumps(config))


def credentials(user: KeyPair | str) -> dict[str, str]:
    """Return the `user` part of a kubeconfig for a client certificate or a bearer token."""
    if isinstance(user, str):
        return {"token": user}
    return {"client-certificate-data": _base64(user.certificate), "client-key-data": _base64(user.key)}


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=_OWNER_ONLY)
    path.write_text(text)
    return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
