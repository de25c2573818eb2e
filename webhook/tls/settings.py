"""The settings of certificates and TLS, declared once."""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from webhook.runtime import parsers
from webhook.runtime.settings import Setting

_DAY: Final = 86_400.0


class TlsMode(Enum):
    """Where the serving certificate comes from.

    Attributes:
        AUTO: Files if they are given, otherwise self-managed.
        SELF_MANAGED: rollonce makes it, and publishes its CA in the webhook configurations.
        FILES: Others write it to files.
        SECRET: Others write it to a Secret with `tls.crt` and `tls.key`, for example cert-manager.
    """

    AUTO = "auto"
    SELF_MANAGED = "self-managed"
    FILES = "files"
    SECRET = "secret"  # noqa: S105 - the name of a mode


TLS_MODE = Setting(
    "tls.mode",
    parsers.choice(TlsMode),
    "auto",
    "Where the serving certificate comes from: self-managed (rollonce makes it), files, secret (cert-manager or you "
    "write it), or auto: files if they are given, otherwise self-managed.",
)
TLS_CERTIFICATE = Setting(
    "tls.certificate", parsers.optional_path, "", "PEM file of the serving certificate and its chain."
)
TLS_KEY = Setting("tls.key", parsers.optional_path, "", "PEM file of the serving certificate's private key.")
TLS_SECRET = Setting(
    "tls.secret", parsers.object_name, "rollonce-tls", "In mode secret: the Secret with tls.crt and tls.key."
)
TLS_CA_SECRET = Setting(
    "tls.caSecret", parsers.object_name, "rollonce-ca", "In mode self-managed: the Secret of the CA."
)
TLS_EXTRA_NAMES = Setting(
    "tls.extraNames",
    parsers.host_names,
    "",
    "In mode self-managed: further DNS names and IP addresses in the serving certificate.",
)
TLS_CA_LIFETIME = Setting(
    "tls.caLifetime", parsers.duration_between(60, 3650 * _DAY), "8760h", "In mode self-managed: lifetime of a CA."
)
TLS_LEAF_LIFETIME = Setting(
    "tls.leafLifetime",
    parsers.duration_between(2, 365 * _DAY),
    "24h",
    "In mode self-managed: lifetime of a serving certificate; the same for all programs.",
)
TLS_SETTLE = Setting(
    "tls.settle",
    parsers.duration_between(0, 3600),
    "1m",
    "In mode self-managed: how long a new CA is published before it signs.",
)
TLS_MARGIN = Setting(
    "tls.margin",
    parsers.duration_between(0, _DAY),
    "10m",
    "In mode self-managed: how much the clocks of the programs and of API servers may differ.",
)
TLS_MINIMUM_VERSION = Setting(
    "tls.minimumVersion", parsers.one_of("1.2", "1.3"), "1.3", "The oldest TLS version that is accepted: 1.2 or 1.3."
)
TLS_CLIENT_CA = Setting(
    "tls.clientCA",
    parsers.optional_path,
    "",
    "PEM file of the CA that must have signed the certificates of clients; by default clients need no certificate.",
)
TLS_CLIENT_NAMES = Setting(
    "tls.clientNames",
    parsers.words,
    "",
    "Names of which a client's certificate must have one; by default every certificate of that CA is accepted.",
)

#: The settings that the servers, the controller and `rollonce certs` must agree on, beside those of the installation.
CERTIFICATE: Final[tuple[Setting[Any], ...]] = (
    TLS_MODE,
    TLS_CERTIFICATE,
    TLS_KEY,
    TLS_SECRET,
    TLS_CA_SECRET,
    TLS_EXTRA_NAMES,
    TLS_CA_LIFETIME,
    TLS_LEAF_LIFETIME,
    TLS_SETTLE,
    TLS_MARGIN,
)
SERVER: Final[tuple[Setting[Any], ...]] = (*CERTIFICATE, TLS_MINIMUM_VERSION, TLS_CLIENT_CA, TLS_CLIENT_NAMES)
