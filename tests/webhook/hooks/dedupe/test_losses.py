"""Valkey killed, and an answer lost on the way: what is known afterwards, and what is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.valkey import Valkey
from tests.webhook.hooks.dedupe.conftest import Replica, fresh, soon
from webhook.clients.redis import RedisClient, parse_url


async def kill_after_each(valkey: Valkey, replica: Replica, times: int) -> list[tuple[bool, bool]]:
    """Reserve and kill; returns for each whether its record is there, and whether its bucket is believed."""
    found = []
    for number in range(times):
        run = fresh(f"run-{number}", delivery_id=f"d-{number}")
        key = run.key()
        assert key is not None
        marks, _ = await replica.store.marks(soon(), (key.bucket,))
        # A restart puts the bucket in doubt, and an explicit name would then have to wait.
        assert await replica.store.declare_whole(key.bucket, marks[key.bucket], soon())
        assert (await replica.validate(run)).allowed
        valkey.kill()
        valkey.restart()
        _, record = await replica.store.get(key, soon())
        marks, _ = await replica.store.marks(soon(), (key.bucket,))
        found.append((record is not None, marks[key.bucket].whole))
    return found


async def test_nothing_acknowledged_is_lost_when_every_write_is_synchronized(tmp_path: Path) -> None:
    """With `appendfsync always`, Valkey killed after each of a hundred acknowledged creates knows all of them."""
    with Valkey.start(tmp_path / "always", appendonly="always") as valkey:
        client = RedisClient(parse_url(valkey.url))
        found = await kill_after_each(valkey, Replica(client), 100)
        await client.close()
    assert all(there for there, _ in found)


async def test_what_a_killed_server_may_have_lost_is_never_believed_to_be_missing(
    valkey: Valkey, replica: Replica
) -> None:
    """With `everysec` a kill can lose an acknowledged write, if rarely; no miss is believed after it."""
    found = await kill_after_each(valkey, replica, 20)
    assert not any(believed for _, believed in found)


@asynccontextmanager
async def losing_an_answer(path: str, port: int) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A way to Valkey on which the answer to the first EVALSHA or EVAL that writes is lost, once."""
    lost: list[bytes] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        request = b""

        async def forward() -> None:
            nonlocal request
            while data := await reader.read(65536):
                request = data
                back.write(data)

        async def answer() -> None:
            while data := await there.read(65536):
                if b"made" in data and not lost:
                    lost.append(data)
                    break
                writer.write(data)
            writer.close()

        tasks = [asyncio.create_task(forward()), asyncio.create_task(answer())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        back.close()
        writer.close()

    server = await asyncio.start_unix_server(carry, path)
    try:
        yield f"unix://{path}", lost
    finally:
        server.close()


async def test_a_lost_answer_is_no_false_duplicate(valkey: Valkey, replica: Replica) -> None:
    """The script ran and its answer was lost: asked again, it knows that the record is this create's own."""
    assert valkey.port is not None
    async with losing_an_answer(str(valkey.folder / "way.sock"), valkey.port) as (url, lost):
        client = RedisClient(parse_url(url))
        assert (await Replica(client, replica.storage).create(fresh())).allowed
        await client.close()
    assert lost
