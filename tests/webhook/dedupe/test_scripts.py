"""The scripts on a real Valkey, compared with their model in Python."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, cast

from tests.valkey import Valkey
from tests.webhook.dedupe.conftest import soon
from tests.webhook.dedupe.model_redis import Bucket, ModelRedis
from webhook.dedupe.core.identity import DeliveryKey, bucket_keys
from webhook.dedupe.core.record import Record, State, encode
from webhook.dedupe.scripts import MARK, PENDING, RESERVE, SWAP, TICK
from webhook.store.api import Script
from webhook.store.client import RedisClient
from webhook.store.url import parse_url

CALLS = 3000
KEY = DeliveryKey("shop", "nightly", "d-1")
KEYS = bucket_keys(KEY.bucket)
MEMBERS = [KEY.address.digest + flag + b"shop" for flag in (b"0", b"1")]
RECORDS = [
    encode(Record(state, name, str(uuid.UUID(int=uid)), bytes(5) + bytes((uid,)), b"f" * 8, reserved_at=reserved_at))
    for state in State
    for name in ("a", "b")
    for uid in (1, 2)
    for reserved_at in (0, 2**48 - 1)
]
Call: TypeAlias = tuple[Script, tuple[bytes, ...], tuple[bytes | int, ...]]


async def ask(client: RedisClient, *words: bytes) -> object:
    """Send a command as it is, so that the library does not change its reply."""
    script = Script.of("return redis.call(unpack(ARGV))")
    return await client.script(script, (), words, soon())


def pairs(reply: object) -> dict[bytes, bytes]:
    """Return a reply of names and values in turn."""
    words = cast("Sequence[bytes]", reply)
    return dict(zip(words[::2], words[1::2], strict=True))


async def replication_id(client: RedisClient) -> bytes:
    """Return the server's replication id."""
    info = cast("dict[str, str]", await client.command("INFO", b"replication", deadline=soon()))
    return info["master_replid"].encode()


async def state(client: RedisClient) -> tuple[bytes, Bucket]:
    """Return the record and everything that the server keeps for its bucket."""
    head = {name.decode(): value for name, value in pairs(await ask(client, b"HGETALL", KEYS.head)).items()}
    pending = pairs(await ask(client, b"ZRANGE", KEYS.pending, b"0", b"-1", b"WITHSCORES"))
    entries = cast("list[list[object]]", await ask(client, b"XRANGE", KEYS.stream, b"-", b"+"))
    stream = {int(str(number, "ascii").partition("-")[0]): fields[1] for number, fields in entries}  # type: ignore[call-overload, index]
    bucket = Bucket(
        mark=cast("bytes | None", await ask(client, b"GET", KEYS.mark)) or b"",
        head=head,
        pending={member: int(score) for member, score in pending.items()},
        stream=stream,
    )
    return cast("bytes | None", await ask(client, b"GET", KEY.address.key)) or b"", bucket


def random_call(rng: random.Random, held: bytes, bucket: Bucket, now: int) -> Call:
    """Return a call that can happen, or that another one can have overtaken."""
    expected = rng.choice([b"", held, rng.choice(RECORDS)])
    mark = rng.choice([b"", bucket.mark])
    match rng.randrange(8):
        case 0 | 1 | 2:
            caller = rng.choice([0, now, now, now, now + 4_000, now - 4_000, now + 60_000])
            args = (
                rng.choice(RECORDS),
                10**7,
                expected,
                mark,
                b"shop",
                caller,
                5_000,
                1_000,
                10**6,
                rng.choice([0, 1]),
            )
            return RESERVE, (KEY.address.key, KEYS.mark, KEYS.head, KEYS.pending, KEYS.stream), args
        case 3 | 4:
            written = rng.choice([*RECORDS, b""] if held else RECORDS)
            expiry = b"" if held and rng.random() < 0.5 else b"%d" % (now + 10**7)
            return (
                SWAP,
                (KEY.address.key, KEYS.mark, KEYS.head, KEYS.pending, KEYS.stream),
                (expected, written, expiry, b"shop", 100),
            )
        case 5:
            dataset = b"%08x" % rng.getrandbits(32)
            changes: list[tuple[bytes, bytes | int]] = [
                (b"W", dataset),
                (b"P", 0),
                (b"L", 5_000),
                (b"L", -5_000),
                (b"J", now),
            ]
            return MARK, (KEYS.mark, KEYS.head), (rng.choice([b"", b"*", mark]), *rng.choice(changes))
        case 6:
            after = max(0, bucket.number("s") - rng.randrange(4))
            claim, dataset = rng.choice([-2_000, 3_000]), b"%08x" % rng.getrandbits(32)
            return TICK, KEYS, (after, 2, rng.randrange(3), claim, dataset, 10_000)
        case _:
            member, at = rng.choice(MEMBERS), now + rng.choice([-1_000, 1_000, 60_000])
            return (
                PENDING,
                (KEY.address.key, KEYS.pending),
                (held or rng.choice(RECORDS), member, rng.choice([b"", *MEMBERS]), at),
            )


async def test_scripts_do_the_same_as_their_model(tmp_path: Path) -> None:
    """In thousands of random calls, restarts and losses, each script returns and writes the same as its model."""
    rng = random.Random(7)
    seen = set()
    with Valkey.start(tmp_path, config=("enable-debug-command yes",)) as valkey:
        client = RedisClient(parse_url(valkey.url))
        model = ModelRedis(lambda: int(time.time() * 1000), await replication_id(client))
        for _ in range(CALLS):
            if rng.random() < 0.05:
                lost = rng.choice([KEY.address.key, KEYS.mark, KEYS.head, KEYS.pending])
                await ask(client, b"DEL", lost)
                forget(model, lost)
            if rng.random() < 0.03:
                await client.command("DEBUG", b"CHANGE-REPL-ID", deadline=soon())
                model.replid = await replication_id(client)
            before, bucket = await state(client)
            call = random_call(rng, before, bucket, int(time.time() * 1000))
            real = await client.script(*call, soon())
            record, bucket = await state(client)
            moment = time_of(call[0], real, bucket)
            model.now = lambda moment=moment: moment  # type: ignore[misc]
            assert model.run(call[0], call[1], call[2]) == real, call
            assert (model.get(KEY.address.key), model.bucket(KEYS.mark)) == (record, bucket), call
            seen.add((call[0], outcome(call[0], real)))
        await client.close()
    # All outcomes of a reservation, both of a swap and of a note, and both kinds of mark.
    assert len(seen) == 5 + 2 + 2 + 2 + 2


def forget(model: ModelRedis, key: bytes) -> None:
    """Lose a key."""
    bucket = model.bucket(KEYS.mark)
    model.keys.pop(key, None)
    bucket.mark = b"" if key == KEYS.mark else bucket.mark
    bucket.head = {} if key == KEYS.head else bucket.head
    bucket.pending = {} if key == KEYS.pending else bucket.pending


def outcome(script: Script, reply: object) -> object:
    """Return what a script has done; of a mark, only its kind."""
    first = reply[0] if isinstance(reply, list) else reply
    return first[:1] if isinstance(first, bytes) and script in {MARK, TICK} else first


def time_of(script: Script, reply: object, bucket: Bucket) -> int:
    """Return the server's time during a call."""
    if script in {RESERVE, MARK, TICK} and isinstance(reply, list):
        return int(reply[2] if script is RESERVE else reply[1])
    # A swap returns no time, but writes it where it notices a restart.
    lost_at = bucket.mark.rpartition(b":")[2]
    return int(lost_at) if lost_at.isdigit() else int(time.time() * 1000)
