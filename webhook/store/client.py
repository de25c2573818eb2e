"""The client of Redis or Valkey, with time limits that suit admission; `webhook.store.url` describes its URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import NoScriptError, RedisError

from webhook.errors import StoreError
from webhook.runtime.deadline import Deadline
from webhook.store.api import Script
from webhook.store.batch import Batches, Words
from webhook.store.url import RedisUrl

#: A server on the same network answers in under a millisecond; after this time it is better to ask again.
TIMEOUT_SECONDS: Final = 0.25
_BACKOFF_SECONDS: Final = 0.01
_SCAN_COUNT: Final = 1_000


class RedisClient:
    """Call the store, each call within its deadline; implements `webhook.store.api.ScriptRunner`.

    Errors of the library become `StoreError`.

    Args:
        url: The address of the store.
    """

    def __init__(self, url: RedisUrl) -> None:
        self.url = url
        self._sentinel: Sentinel | None = None
        self._client: Redis | RedisCluster = self._connect()
        self._batches = Batches(self._send)
        #: Whether a command is running outside of a batch.
        self._running_alone = False

    @property
    def replicas(self) -> int:
        """How many replicas `acknowledged` waits for."""
        return self.url.wait_replicas

    async def script(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> object:
        """Run a script and return its result. It may run twice if an answer was lost; every script allows that.

        Raises:
            StoreError: No answer in time, or an error.
        """
        words = (len(keys), *keys, *args)
        try:
            return await self._ask(("EVALSHA", script.sha.encode(), *words), deadline)
        except _UnknownScriptError:
            return await self._ask(("EVAL", script.source.encode(), *words), deadline)

    async def _ask(self, words: Words, deadline: Deadline) -> object:
        # Keys of one batch could lie on several servers of a Cluster.
        if self.url.form == "cluster":
            return await self._bounded(lambda: self._client.execute_command(*words), deadline)
        if self._running_alone:
            return await self._bounded(lambda: self._batches.ask(words), deadline)
        # No other command is running: a batch would only cost time.
        self._running_alone = True
        try:
            return await self._bounded(lambda: self._client.execute_command(*words), deadline)
        finally:
            self._running_alone = False

    async def _send(self, commands: Sequence[Words]) -> Sequence[object]:
        if len(commands) == 1:
            return [await self._client.execute_command(*commands[0])]
        # Each command may run twice, so the library may repeat them all.
        async with self._client.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)
            return await pipe.execute(raise_on_error=False)

    async def acknowledged(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], deadline: Deadline
    ) -> tuple[object, bool]:
        """Run a script that writes, and wait for as many replicas as the URL says, in one round trip.

        Returns:
            The script's result, and whether enough replicas have what it wrote.

        Raises:
            StoreError: No answer in time, or an error.
        """
        if not self.url.wait_replicas:
            return await self.script(script, keys, args, deadline), True
        words = (len(keys), *keys, *args)
        try:
            return await self._wait("EVALSHA", script.sha.encode(), *words, deadline=deadline)
        except _UnknownScriptError:
            return await self._wait("EVAL", script.source.encode(), *words, deadline=deadline)

    async def _wait(self, name: str, *words: bytes | int, deadline: Deadline) -> tuple[object, bool]:
        async def call() -> tuple[object, int]:
            # WAIT covers the writes of its own connection only, so both commands must use the same one.
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.execute_command(name, *words)
                pipe.execute_command("WAIT", self.url.wait_replicas, self.url.wait_milliseconds)
                # With `raise_on_error` the text of the library's error would repeat the whole command.
                answers = await pipe.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return cast("tuple[object, int]", tuple(answers))

        answer, count = cast("tuple[object, int]", await self._bounded(call, deadline))
        return answer, count >= self.url.wait_replicas

    async def infos(self, deadline: Deadline) -> Mapping[str, Mapping[str, str]]:
        """Return the result of `INFO` of each server, by its address; a Cluster has several servers.

        The address of a single server is empty.

        Raises:
            StoreError: No answer in time, or an error.
        """
        if self.url.form != "cluster":
            info = cast("Mapping[str, object]", await self.command("INFO", b"everything", deadline=deadline))
            return {"": {name: str(value) for name, value in info.items()}}
        nodes = cast(
            "Mapping[str, Mapping[str, object]]",
            await self._bounded(
                lambda: self._client.execute_command("INFO", b"everything", target_nodes=RedisCluster.ALL_NODES),
                deadline,
            ),
        )
        return {node: {name: str(value) for name, value in info.items()} for node, info in nodes.items()}

    async def keys(self, pattern: bytes, deadline: Callable[[], Deadline]) -> AsyncGenerator[list[bytes]]:
        """Yield the keys that match a pattern, page by page, in no order; a key may come twice.

        Args:
            pattern: A glob pattern.
            deadline: Creates the deadline of each page.

        Raises:
            StoreError: No answer in time, or an error.
        """
        open_: list[tuple[int, str]] = [(0, "")]
        while open_:
            cursor, node = open_.pop()
            where: dict[str, Any] = {"target_nodes": self._node(node)} if node else {}
            scan = partial(self._client.scan, cursor, match=pattern, count=_SCAN_COUNT, **where)
            cursors, found = cast("tuple[int | Mapping[str, int], list[bytes]]", await self._bounded(scan, deadline()))
            # A Cluster answers with a cursor for each of its primaries.
            following = cursors if isinstance(cursors, Mapping) else {"": cursors}
            open_.extend((cursor, node) for node, cursor in following.items() if cursor)
            yield found

    def _node(self, name: str) -> ClusterNode:
        node = cast("RedisCluster", self._client).get_node(node_name=name)
        if node is None:
            raise StoreError("A server has left the Cluster while its keys were read.")
        return node

    async def command(self, name: str, *words: bytes | int, deadline: Deadline) -> object:
        """Send a command and return its result, as the library decodes it.

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
            # The library swallows a cancellation that arrives together with the answer; without this, the task that
            # was cancelled would go on.
            if task and task.cancelling() > cancelled_before:
                raise asyncio.CancelledError
        except NoScriptError:
            raise _UnknownScriptError("The store does not know the script yet.") from None
        except TimeoutError:
            raise StoreError("Redis did not answer in time.") from None
        except (RedisError, OSError) as error:
            raise StoreError(f"Redis cannot be used: {_text_of(error)}.") from None
        except AttributeError:
            # In a Cluster, the library writes to a connection that another call has closed since, because its server
            # has left.
            raise StoreError("Redis cannot be used: the connection was closed.") from None
        else:
            return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._batches.close()
        await self._client.aclose()
        for sentinel in self._sentinel.sentinels if self._sentinel else ():
            await sentinel.aclose()

    def _connect(self) -> Redis | RedisCluster:
        url = self.url
        # Keyword arguments of several classes of the library with different types; hence Any.
        timeout = TIMEOUT_SECONDS + (url.wait_milliseconds / 1000 if url.wait_replicas else 0)
        bounds: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": TIMEOUT_SECONDS}
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
    """The server does not have the script: it was restarted or emptied since the script was sent."""


def _text_of(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
