"""Where certificates come from, and for which names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from certs.injector import Target
from certs.rotation import RotationSettings


class TlsMode(Enum):
    """Who makes the serving certificate.

    Attributes:
        AUTO: Files where a file is given, otherwise rollonce itself.
        SELF_MANAGED: rollonce, which also publishes its CA in the webhook configurations.
        FILES: Somebody who writes files.
        SECRET: Somebody who writes a Secret with `tls.crt` and `tls.key`, such as cert-manager.
    """

    AUTO = "auto"
    SELF_MANAGED = "self-managed"
    FILES = "files"
    SECRET = "secret"  # noqa: S105 - a mode's name


@dataclass(frozen=True, slots=True)
class SelfManaged:
    """What the self-managed mode needs to know; the same for the servers, the controller and the command line.

    Attributes:
        namespace: Of the CA Secret.
        secret: Its name.
        target: Which webhooks are ours.
        rotation: Names and lifetimes.
        labels: Put on a Secret that is made here.
    """

    namespace: str
    secret: str
    target: Target
    rotation: RotationSettings
    labels: tuple[tuple[str, str], ...] = (("app.kubernetes.io/name", "rollonce"),)

    @property
    def server_name(self) -> str:
        """The name that an API server verifies: that of the Service, or the host of the URL."""
        host = urlsplit(self.target.url_prefix).hostname if self.target.url_prefix else None
        return host or self.rotation.names.api_server_name


@dataclass(frozen=True, slots=True)
class ProvidedFiles:
    """A pair that somebody else keeps in files.

    Attributes:
        certificate: The chain, leaf first.
        key: Its private key.
    """

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ProvidedSecret:
    """A pair that somebody else keeps in a Secret.

    Attributes:
        namespace: Of the Secret.
        name: Its name.
        server_name: By what name the API server calls; a pair for other names is served, with a warning.
    """

    namespace: str
    name: str
    server_name: str


CertificateSource = SelfManaged | ProvidedFiles | ProvidedSecret
