"""A small TCP load balancer: several servers behind one address, like a Kubernetes Service."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_CHUNK = 65536
_HOST = "127.0.0.1"


class Balancer:
    """Forward each new connection to the next port, round robin; a port that refuses the connection is skipped.

    It runs in a thread with its own event loop. Use it as a context manager, or call `stop`.

    Attributes:
        port: Port on loopback where it listens.
        ports: Ports that get new connections. They can be replaced at any time; existing connections stay.
    """

    def __init__(self, ports: Sequence[int] = ()) -> None:
        self.ports = tuple(ports)
        self.port = 0
        self._frozen = False
        self._round_robin = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="balancer", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, _HOST, 0, backlog=1024))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close the listener and all connections, and end the thread."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Close every existing connection; new ones are accepted as before."""
        self._call(self._cut())

    def freeze(self) -> None:
        """Forward no more data, in either direction, until the end."""
        self._frozen = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            connection = await self._connect()
            if connection is None:
                return
            upstream_reader, upstream_writer = connection
            try:
                await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))
            finally:
                upstream_writer.close()
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        ports = self.ports
        start = next(self._round_robin)
        for offset in range(len(ports)):
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(_HOST, ports[(start + offset) % len(ports)])
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._frozen:
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()
