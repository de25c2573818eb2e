"""Where the store is: the URL of a Redis or Valkey, read and checked.

    redis://[user:password@]host[:6379][/db]            one server
    rediss://…                                          the same over TLS
    unix:///path/to/socket[?db=0]                       the same by a socket
    redis+sentinel://host[:26379][,host…]/service[/db]  whoever the Sentinels call the primary
    redis+cluster://host[:6379][,host…]                 a Cluster
    rediss+sentinel://…, rediss+cluster://…             both over TLS

Options after `?`: `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` name files for TLS; `connections` bounds the pool;
`wait_replicas` and `wait_milliseconds` say how many replicas have to know of a reservation, and how long that may take.
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
    """Where the store is.

    Attributes:
        form: `standalone`, `unix`, `sentinel` or `cluster`.
        hosts: Addresses with ports; empty for a socket.
        path: Of the socket.
        service: The Sentinels' name of the primary.
        tls: Whether connections are encrypted.
        username: Of an ACL user; empty for the default one.
        password: Not shown by repr.
        db: The database's number.
        connections: How many the pool may hold.
        wait_replicas: How many replicas have to acknowledge what is reserved; none by default.
        wait_milliseconds: How long they may take.
        ca: File with the authorities to trust, for TLS; the system's if empty.
        cert: File with our own certificate, for TLS.
        key: File with its key.
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
        """Name the server without the password."""
        where = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.form} {where}" + (f" ({self.service})" if self.service else "")


def parse_url(url: str) -> RedisUrl:
    """Read a store's URL.

    Raises:
        ConfigurationError: It is none; the message never repeats the URL, which may hold a password.
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
        raise ValueError("its path has too many parts; only the number of a database may stand there")
    db = int(segments[0] if segments else options.get("db", "0"))
    if form == "cluster" and db:
        raise ValueError("a Cluster has no numbered databases")
    wait_replicas = _number(options, "wait_replicas", 0, low=0, high=100)
    if form == "cluster" and wait_replicas:
        raise ValueError("wait_replicas is not for a Cluster, where a connection's WAIT would speak for one shard")
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
        raise ValueError(f"{name} has to be a whole number from {low} to {high}")
    return int(text)


def _host(word: str, form: str) -> tuple[str, int]:
    parts = urlsplit(f"//{word}")
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname, parts.port or (26379 if form == "sentinel" else 6379)
