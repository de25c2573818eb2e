"""Valkey is killed, or an answer is lost: which records exist afterwards, and what a missing record proves."""

from __future__ import annotations

from pathlib import Path

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import Replica, fresh, key_of, relay, soon
from webhook.store.client import RedisClient
from webhook.store.url import parse_url


async def kill_after_each(valkey: Valkey, replica: Replica, times: int) -> list[tuple[bool, bool]]:
    """Reserve and kill; returns for each whether its record exists, and whether its bucket counts as synced."""
    found = []
    for number in range(times):
        run = fresh(f"run-{number}", delivery_id=f"d-{number}")
        key = key_of(run)
        marks, _ = await replica.buckets.marks(soon())
        # After a restart the bucket is not synced, and a name of its own would have to wait.
        assert await replica.buckets.declare_synced(key.bucket, marks[key.bucket], soon())
        assert (await replica.validate(run)).allowed
        valkey.kill()
        valkey.restart()
        _, record = await replica.store.get(key.address, soon())
        marks, _ = await replica.buckets.marks(soon())
        found.append((record is not None, marks[key.bucket].synced))
    return found


async def test_nothing_acknowledged_is_lost_when_every_write_is_synchronized(tmp_path: Path) -> None:
    """With `appendfsync always`, Valkey killed after each of a hundred acknowledged creates has all of them."""
    with Valkey.start(tmp_path / "always", appendonly="always") as valkey:
        client = RedisClient(parse_url(valkey.url))
        found = await kill_after_each(valkey, await Replica(client).join(), 100)
        await client.close()
    assert all(exists for exists, _ in found)


async def test_after_a_kill_a_missing_record_proves_nothing(valkey: Valkey, replica: Replica) -> None:
    """With `everysec` a kill can lose an acknowledged write, if rarely; no bucket counts as synced after it."""
    found = await kill_after_each(valkey, replica, 20)
    assert not any(synced for _, synced in found)


async def test_a_lost_answer_is_no_false_duplicate(valkey: Valkey, replica: Replica) -> None:
    """The script ran and its answer was lost: when it runs again, it finds that the record is this create's own."""
    assert valkey.port is not None
    socket = valkey.folder / "relay.sock"
    async with relay(socket, valkey.port, lose=b"made") as lost:
        client = RedisClient(parse_url(f"unix://{socket}"))
        assert (await (await Replica(client, replica.storage).join()).create(fresh())).allowed
        await client.close()
    assert lost
