"""Parse the URL of the store, a Redis or Valkey.

    redis://[user:password@]host[:6379][/db]            one server
    rediss://…                                          the same over TLS
    unix:///path/to/socket[?db=0]                       the same by a socket
    redis+sentinel://host[:26379][,host…]/service[/db]  the server that the Sentinels report as the primary
    redis+cluster://host[:6379][,host…]                 a Cluster
    rediss+sentinel://…, rediss+cluster://…             both over TLS

Options after `?`: `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` name files for TLS; `connections` bounds the pool;
`wait_replicas` and `wait_milliseconds` are how many replicas must acknowledge a reservation, and for how long to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from webhook.errors import ConfigurationError

_CONNECTIONS: Final = 64
_FORMS: Final = frozenset(
    {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
_WAIT_MILLISECONDS: Final = 100
_LONGEST_WAIT_MILLISECONDS: Final = 2000
_OPTIONS: Final = frozenset(
    {"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "connections", "wait_replicas", "wait_milliseconds"}
)
_HINT: Final = "write redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// and the server's address"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The address of the store, and how to connect to it.

    Attributes:
        form: `standalone`, `unix`, `sentinel` or `cluster`.
        hosts: Addresses with ports; empty for a socket.
        path: Path of the socket.
        service: The Sentinels' name of the primary.
        tls: Whether connections are encrypted.
        username: Name of an ACL user; empty for the default user.
        password: The user's password; not shown by repr.
        db: Number of the database.
        connections: The most connections of the pool.
        wait_replicas: How many replicas must acknowledge a reservation; none by default.
        wait_milliseconds: How long to wait for them.
        ca: File of the certificate authorities for TLS; empty for those of the system.
        cert: File of the client certificate for TLS.
        key: File of its private key.
    """

    form: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    connections: int = _CONNECTIONS
    wait_replicas: int = 0
    wait_milliseconds: int = _WAIT_MILLISECONDS
    ca: str = ""
    cert: str = ""
    key: str = ""

    def __str__(self) -> str:
        """Return the address without the password."""
        where = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.form} {where}" + (f" ({self.service})" if self.service else "")


def parse_url(url: str) -> RedisUrl:
    """Parse the URL of a store.

    Raises:
        ConfigurationError: The URL is wrong; the message never repeats it, because it may contain a password.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ConfigurationError(f"The store's URL cannot be read: {_HINT}.") from None
    if parts.scheme not in _FORMS:
        raise ConfigurationError(f"The store's URL begins with none of the known schemes: {_HINT}.")
    if unknown := sorted(options.keys() - _OPTIONS):
        raise ConfigurationError(f"The store's URL has unknown options: {', '.join(unknown)}.")
    security, _, form = parts.scheme.partition("+")
    try:
        return _read(parts, options, form or ("unix" if security == "unix" else "standalone"), security == "rediss")
    except ValueError as error:
        raise ConfigurationError(f"The store's URL is wrong: {error}.") from None


def _read(parts: SplitResult, options: dict[str, str], form: str, tls: bool) -> RedisUrl:  # noqa: FBT001 - private
    user, _, address = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    segments = [unquote(segment) for segment in parts.path.split("/") if segment] if form != "unix" else []
    service = segments.pop(0) if form == "sentinel" and segments else ""
    if form == "sentinel" and not service:
        raise ValueError("it names no service; write redis+sentinel://host/service")
    if form == "unix" and not parts.path:
        raise ValueError("it names no socket; write unix:///path/to/socket")
    if len(segments) > 1:
        raise ValueError("its path has too many parts; it can only be the number of a database")
    db = int(segments[0] if segments else options.get("db", "0"))
    if form == "cluster" and db:
        raise ValueError("a Cluster has no numbered databases")
    wait_replicas = _number(options, "wait_replicas", 0, low=0, high=100)
    if form == "cluster" and wait_replicas:
        raise ValueError("wait_replicas cannot be used with a Cluster, where WAIT covers a single shard")
    return RedisUrl(
        form=form,
        hosts=() if form == "unix" else tuple(_host(word, form) for word in address.split(",")),
        path=unquote(parts.path) if form == "unix" else "",
        service=service,
        tls=tls,
        username=unquote(username),
        password=unquote(password),
        db=db,
        connections=_number(options, "connections", _CONNECTIONS, low=1, high=10_000),
        wait_replicas=wait_replicas,
        wait_milliseconds=_number(
            options, "wait_milliseconds", _WAIT_MILLISECONDS, low=1, high=_LONGEST_WAIT_MILLISECONDS
        ),
        ca=options.get("ssl_ca_certs", ""),
        cert=options.get("ssl_certfile", ""),
        key=options.get("ssl_keyfile", ""),
    )


def _number(options: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    text = options.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _host(word: str, form: str) -> tuple[str, int]:
    parts = urlsplit(f"//{word}")
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname, parts.port or (26379 if form == "sentinel" else 6379)
