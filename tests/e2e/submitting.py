"""Submitting runs as patient programs do, to a cluster whose parts die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.controlplane import ControlPlane, Options
from tests.e2e.objects import Object, runs
from tests.e2e.raw import RUNS_PATH, RawClient
from tests.rollonce import Installation
from webhook.clients.api import Reply
from webhook.errors import KubernetesError

Send: TypeAlias = Callable[[], Coroutine[Any, Any, Reply]]

#: A create lives no longer than 8 s in the API server of `tight_plane`, and so the lease may be shorter than usual.
SETTINGS: Final = ("--dedupe-lease=10s",)


@contextmanager
def tight_plane(folder: Path) -> Iterator[ControlPlane]:
    """A control plane whose parts are frozen and killed."""
    with ControlPlane.start(folder, options=Options(apiserver_args=("--request-timeout=8s",))) as running:
        yield running


def until_whole(plane: ControlPlane, installation: Installation) -> None:
    """Wait until the servers believe their store."""
    plane.wait_for(
        lambda: all(
            replica.health("/readyz")[0] == 200 and replica.metric("rollonce_dedupe_doubted_buckets") == 0
            for replica in installation.replicas
        ),
        what="the store to be whole",
    )


def submit(client: RawClient, namespace: str, manifest: Object) -> Send:
    """A create that can be sent."""
    return partial(client.create, RUNS_PATH.format(namespace), manifest)


async def until_answered(send: Send, seconds: float = 40.0) -> Reply:
    """Submit again and again, as a patient client does, until the delivery has its run: 201 or 409."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            reply = await send()
        except KubernetesError:
            assert time.monotonic() < deadline
        else:
            if reply.status in {201, 409}:
                return reply
            assert time.monotonic() < deadline, reply.body
        await asyncio.sleep(0.1)


def names(plane: ControlPlane, namespace: str) -> list[str]:
    """The runs that are stored."""
    return [found["metadata"]["name"] for found in runs(plane, namespace)]


@dataclass
class Way:
    """A way to Redis that can swallow what comes back.

    Attributes:
        url: For the server.
        swallowing: Whether answers vanish.
        swallowed: Set once a reservation was made whose answer has vanished.
    """

    url: str
    swallowing: bool = False
    swallowed: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    """Open such a way to a port of loopback."""
    way = Way("")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        while data := await reader.read(65536):
            if back and way.swallowing:
                if b"made" in data:
                    way.swallowed.set()
                continue
            writer.write(data)
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", port)
        pumps = (pump(reader, out, back=False), pump(there, writer, back=True))
        await asyncio.gather(*pumps, return_exceptions=True)

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    way.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
