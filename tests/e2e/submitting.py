"""Clients that submit runs and repeat failed requests, in a cluster whose components fail."""

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
from webhook.errors import KubernetesError
from webhook.kube.api import Reply

Send: TypeAlias = Callable[[], Coroutine[Any, Any, Reply]]

#: The lease can be shorter than the default: in `short_timeout_plane` a create ends within 8 s.
SETTINGS: Final = ("--dedupe-lease=10s",)


@contextmanager
def short_timeout_plane(folder: Path) -> Iterator[ControlPlane]:
    """Start a control plane with a request timeout of 8 s, which tests break."""
    with ControlPlane.start(folder, options=Options(apiserver_args=("--request-timeout=8s",))) as running:
        yield running


def wait_until_synced(plane: ControlPlane, installation: Installation) -> None:
    """Wait until the servers are ready, their store is synced, and a missing record proves something to each."""
    plane.wait_for(
        lambda: all(
            replica.health("/readyz")[0] == 200
            and replica.metric("rollonce_dedupe_unsynced_buckets") == 0
            and replica.metric("rollonce_dedupe_state_trusted") == 1
            and replica.metric("rollonce_dedupe_recall_complete") == 1
            for replica in installation.replicas
        ),
        timeout=60,
        what="the store to be synced",
    )


def submit(client: RawClient, namespace: str, manifest: Object) -> Send:
    """Return a function that creates an object."""
    return partial(client.create, RUNS_PATH.format(namespace), manifest)


async def until_answered(send: Send, seconds: float = 40.0) -> Reply:
    """Repeat a create until its delivery has a run: until the reply is 201 or 409."""
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


def run_names(plane: ControlPlane, namespace: str) -> list[str]:
    """Return the names of the stored runs."""
    return [found["metadata"]["name"] for found in runs(plane, namespace)]


@dataclass
class LossyProxy:
    """A proxy to Redis that can drop replies.

    Attributes:
        url: URL for the server.
        dropping: Whether replies are dropped.
        dropped: Set when the reply to a new reservation was dropped.
    """

    url: str
    dropping: bool = False
    dropped: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def lossy_proxy(port: int) -> AsyncIterator[LossyProxy]:
    """Run a proxy to a port on loopback until the end of the block."""
    proxy = LossyProxy("")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(65536):
            if replies and proxy.dropping:
                if b"made" in data:
                    proxy.dropped.set()
                continue
            writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        directions = (forward(reader, server_writer, replies=False), forward(server_reader, writer, replies=True))
        await asyncio.gather(*directions, return_exceptions=True)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
