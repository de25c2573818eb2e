"""Connections to Redis or Valkey, by URL, with bounds that suit admission.

    redis://[user:password@]host[:6379][/db]            one server
    rediss://…                                          the same over TLS
    unix:///path/to/socket[?db=0]                       the same by a socket
    redis+sentinel://host[:26379][,host…]/service[/db]  whoever the Sentinels call the primary
    redis+cluster://host[:6379][,host…]                 a Cluster
    rediss+sentinel://…, rediss+cluster://…             both over TLS

Options after `?`: `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` name files for TLS; `connections` bounds the pool.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import NoScriptError, RedisError

from webhook.admission.deadline import Deadline
from webhook.errors import ConfigurationError, StoreError

#: A server on the same network answers in under a millisecond. What takes longer than this is better asked again.
TIMEOUT_SECONDS: Final = 0.25
_BACKOFF_SECONDS: Final = 0.01
_CONNECTIONS: Final = 64
_FORMS: Final = frozenset(
    {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
_OPTIONS: Final = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "connections"})
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
    connections = int(options.get("connections", _CONNECTIONS))
    if connections < 1:
        raise ValueError("connections has to be 1 or more")
    return RedisUrl(
        form=form,
        hosts=() if form == "unix" else tuple(_host(word, form) for word in address.split(",")),
        path=unquote(parts.path) if form == "unix" else "",
        service=service,
        tls=tls,
        username=unquote(username),
        password=unquote(password),
        db=db,
        connections=connections,
        ca=options.get("ssl_ca_certs", ""),
        cert=options.get("ssl_certfile", ""),
        key=options.get("ssl_keyfile", ""),
    )


def _host(word: str, form: str) -> tuple[str, int]:
    parts = urlsplit(f"//{word}")
    if not parts.hostname:
        raise ValueError("it names no host")
    return parts.hostname, parts.port or (26379 if form == "sentinel" else 6379)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; the server keeps it under its SHA-1, so that only that has to be sent."""

    source: str
    sha: str

    @classmethod
    def of(cls, source: str) -> Script:
        """Prepare a script."""
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class RedisClient:
    """Calls to the store, each within its deadline; no error of the library gets past here.

    Args:
        url: Where the store is.
    """

    def __init__(self, url: RedisUrl) -> None:
        self.url = url
        self._sentinel: Sentinel | None = None
        self._client: Redis | RedisCluster = self._connect()

    async def script(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> object:
        """Run a script; it may run twice if an answer was lost, so each script has to bear that.

        Raises:
            StoreError: No answer in time, or an error.
        """
        try:
            return await self.command("EVALSHA", script.sha.encode(), len(keys), *keys, *args, deadline=deadline)
        except _UnknownScriptError:
            return await self.command("EVAL", script.source.encode(), len(keys), *keys, *args, deadline=deadline)

    async def size(self, deadline: Deadline) -> int:
        """Return how many keys there are, in all shards of a Cluster together.

        Raises:
            StoreError: No answer in time, or an error.
        """
        where = {"target_nodes": RedisCluster.PRIMARIES} if self.url.form == "cluster" else {}
        return cast("int", await self._bounded(lambda: self._client.execute_command("DBSIZE", **where), deadline))

    async def command(self, name: str, *words: bytes | int, deadline: Deadline) -> object:
        """Send a command; what the library knows how to read of the answer is read.

        Raises:
            StoreError: No answer in time, or an error.
        """
        return await self._bounded(lambda: self._client.execute_command(name, *words), deadline)

    async def _bounded(self, call: Callable[[], Awaitable[Any]], deadline: Deadline) -> object:
        task = asyncio.current_task()
        cancelled_before = task.cancelling() if task else 0
        try:
            async with asyncio.timeout(deadline.require()):
                answer: object = await call()
            # The library swallows a cancellation that arrives together with the answer; whoever asked for it waits.
            if task and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError
        except NoScriptError:
            raise _UnknownScriptError("The store does not know the script yet.") from None
        except TimeoutError:
            raise StoreError("Redis did not answer in time.") from None
        except (RedisError, OSError) as error:
            raise StoreError(f"Redis cannot be used: {_said(error)}.") from None
        else:
            return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        for sentinel in self._sentinel.sentinels if self._sentinel else ():
            await sentinel.aclose()

    def _connect(self) -> Redis | RedisCluster:
        url = self.url
        # The library's keywords, which its several classes take in several places; hence Any.
        bounds: dict[str, Any] = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
        common = bounds | {
            "username": url.username or None,
            "password": url.password or None,
            "retry": Retry(ConstantBackoff(_BACKOFF_SECONDS), 1),
            "max_connections": url.connections,
        }
        if url.tls:
            common |= {"ssl_ca_certs": url.ca or None, "ssl_certfile": url.cert or None, "ssl_keyfile": url.key or None}
        if url.form == "cluster":
            nodes = [ClusterNode(host, port) for host, port in url.hosts]
            return RedisCluster(startup_nodes=nodes, ssl=url.tls, **common)
        common["db"] = url.db
        if url.form == "sentinel":
            sentinels: Any = Sentinel
            self._sentinel = sentinels(list(url.hosts), sentinel_kwargs=bounds, ssl=url.tls, **common)
            return cast("Redis", self._sentinel.master_for(url.service))
        if url.form == "unix":
            common |= {"connection_class": UnixDomainSocketConnection, "path": url.path}
        else:
            (host, port), *_ = url.hosts
            common |= {"connection_class": SSLConnection if url.tls else Connection, "host": host, "port": port}
        return Redis.from_pool(BlockingConnectionPool(timeout=TIMEOUT_SECONDS, **common))


class _UnknownScriptError(StoreError):
    """The server has been restarted or emptied since the script was sent."""


def _said(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
