"""The scripts on a real Valkey, compared with their model in Python."""

from __future__ import annotations

import random
import time
import uuid
from typing import cast

from tests.webhook.dedupe.conftest import soon
from tests.webhook.dedupe.model_redis import ModelRedis
from webhook.dedupe.core.identity import DeliveryKey, mark_key
from webhook.dedupe.core.record import Record, State, encode
from webhook.dedupe.store import MARK, RESERVE, SWAP
from webhook.store.api import Script
from webhook.store.client import RedisClient


async def _replid(client: RedisClient) -> bytes:
    info = cast("dict[str, str]", await client.command("INFO", b"replication", deadline=soon()))
    return info["master_replid"].encode()


async def test_scripts_do_the_same_as_their_model(client: RedisClient) -> None:
    """In two thousand random calls, each script returns and writes the same as its model."""
    rng = random.Random(7)
    now = int(time.time() * 1000)
    model = ModelRedis(lambda: now, await _replid(client))
    key = DeliveryKey("shop", "nightly", "d-1")
    keys = (key.record_key, mark_key(key.bucket))
    records = [
        encode(Record(state, name, str(uuid.UUID(int=uid)), bytes(5) + bytes((uid,)), b"f" * 8))
        for state in State
        for name in ("a", "b")
        for uid in (1, 2)
    ]
    seen = set()
    for _ in range(2000):
        held = model.get(keys[0])
        expected = rng.choice([b"", held, rng.choice(records)])
        mark = rng.choice([b"", model.get(keys[1])])
        script: Script
        args: tuple[bytes | int, ...]
        used: tuple[bytes, ...]
        match rng.randrange(6):
            case 0 | 1 | 2:
                script, used, args = RESERVE, keys, (rng.choice(records), 10**7, expected, mark)
            case 3:
                written = rng.choice([*records, b""] if held else records)
                expiry = b"" if held and rng.random() < 0.5 else b"%d" % (now + 10**7)
                script, used, args = SWAP, keys[:1], (expected, written, expiry)
            case 4:
                script, used, args = (
                    MARK,
                    keys[1:],
                    (rng.choice([b"", b"*", mark]), rng.choice([b"W", b"L"]), 5000),
                )
            case _:
                gone = rng.choice(keys)
                await client.command("DEL", gone, deadline=soon())
                model.keys.pop(gone, None)
                continue
        real = await client.script(script, used, args, soon())
        if isinstance(real, list):
            now = next(word for word in real if isinstance(word, int))
        assert model.run(script, used, args) == real
        for each in keys:
            assert (await client.command("GET", each, deadline=soon()) or b"") == model.get(each)
        seen.add((script, real[0] if script is RESERVE and isinstance(real, list) else real == 1))
    assert len(seen) >= 4 + 2
