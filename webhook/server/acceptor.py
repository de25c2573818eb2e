"""Accept connections: the limits hold from the first packet on, before the TLS handshake."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Final

from webhook.server.sources import Refusal, Slot, Sources

#: Time for a TLS handshake; the API server gives a whole call 30 s at most.
HANDSHAKE_SECONDS: Final = 10.0
#: Connections that are accepted before anything else is done.
_AT_ONCE: Final = 32
#: The pause after the process has no file descriptors left.
_PAUSE_SECONDS: Final = 0.1
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Accept the connections of one listening socket until it is closed.

    Args:
        listening: The socket.
        protocol: Creates the protocol of a connection.
        sources: The open connections.
        tls: The TLS context; None for plain text.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[Slot], asyncio.Protocol],
        sources: Sources,
        *,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._protocol = protocol
        self._sources = sources
        self._tls = tls
        self._handshakes: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        self._watch()

    def stop(self) -> None:
        """Accept no new connection."""
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            self._listening.close()

    async def close(self) -> None:
        """Accept no new connection, and break off the handshakes."""
        self.stop()
        for task in tuple(self._handshakes):
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _watch(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._sources.make_room()
                self._loop.remove_reader(self._listening)
                self._loop.call_later(_PAUSE_SECONDS, self._watch)
                return
            slot = self._sources.admit(str(address[0]))
            if slot is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._connect(accepted, slot))
            slot.abort = task.cancel
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _connect(self, accepted: socket.socket, slot: Slot) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol(slot),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )
        except (OSError, TimeoutError):
            # An alert of the client is its problem, and a stranger's problem is no matter for the log.
            self._sources.closed(Refusal.HANDSHAKE)
            self._give_up(accepted, slot)
        except BaseException:
            self._give_up(accepted, slot)
            raise

    def _give_up(self, accepted: socket.socket, slot: Slot) -> None:
        self._sources.remove(slot)
        with contextlib.suppress(OSError):
            accepted.close()
