"""Commands that are sent together."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tests.valkey import Valkey
from tests.webhook.clients.test_redis import soon
from webhook.clients.redis import RedisClient, Script, parse_url
from webhook.errors import StoreError

OWN = Script.of("if ARGV[1] == 'bad' then return redis.error_reply('no') end return {KEYS[1], ARGV[1]}")


async def calls(client: RedisClient) -> dict[str, int]:
    """How often each command was run so far, also within scripts."""
    stats = cast("dict[str, dict[str, Any]]", await client.command("INFO", b"commandstats", deadline=soon()))
    return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}


async def test_each_keeps_its_own_answer(valkey: Valkey) -> None:
    """Of two hundred at once each gets its own answer, the refused ones their own error, over few connections."""
    client = RedisClient(parse_url(valkey.url))
    arguments = [b"bad" if number % 10 == 0 else b"%d" % number for number in range(200)]
    answers = await asyncio.gather(
        *(client.script(OWN, (b"k%d" % number,), (word,), soon()) for number, word in enumerate(arguments)),
        return_exceptions=True,
    )
    for number, (word, answer) in enumerate(zip(arguments, answers, strict=True)):
        if word == b"bad":
            assert isinstance(answer, StoreError)
        else:
            assert answer == [b"k%d" % number, word]
    clients = cast("dict[str, object]", await client.command("INFO", b"clients", deadline=soon()))
    assert int(str(clients["connected_clients"])) <= 4
    await client.close()


async def test_who_is_cancelled_leaves_the_others_alone(valkey: Valkey) -> None:
    """One of a batch goes away, or its time is over; the others are answered."""
    client = RedisClient(parse_url(valkey.url))
    tasks = [asyncio.create_task(client.script(OWN, (b"k",), (b"%d" % number,), soon())) for number in range(20)]
    await asyncio.sleep(0)
    tasks[7].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(7), asyncio.CancelledError)
    assert [type(answer) for answer in answers] == [list] * 19
    await client.close()


async def test_a_client_that_is_closed_leaves_nobody_waiting(valkey: Valkey) -> None:
    """Who still waits for a frozen server when the client is closed, ends."""
    client = RedisClient(parse_url(valkey.url))
    await client.script(OWN, (b"k",), (b"x",), soon())
    valkey.freeze()
    waiting = asyncio.create_task(client.script(OWN, (b"k",), (b"x",), soon(60)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises((asyncio.CancelledError, StoreError)):
        await asyncio.wait_for(waiting, 10)
    valkey.thaw()
