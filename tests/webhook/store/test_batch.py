"""Commands that are sent together."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tests.valkey import Valkey
from tests.webhook.store.test_client import soon
from webhook.errors import StoreError
from webhook.store.api import Script
from webhook.store.client import RedisClient
from webhook.store.url import parse_url

ECHO = Script.of("if ARGV[1] == 'bad' then return redis.error_reply('no') end return {KEYS[1], ARGV[1]}")


async def calls(client: RedisClient) -> dict[str, int]:
    """Return how often each command was run so far, by clients and by scripts."""
    stats = cast("dict[str, dict[str, Any]]", await client.command("INFO", b"commandstats", deadline=soon()))
    return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}


async def test_each_command_keeps_its_own_result(valkey: Valkey) -> None:
    """Of two hundred commands at once each gets its own result or its own error, over few connections."""
    client = RedisClient(parse_url(valkey.url))
    arguments = [b"bad" if number % 10 == 0 else b"%d" % number for number in range(200)]
    answers = await asyncio.gather(
        *(client.script(ECHO, (b"k%d" % number,), (word,), soon()) for number, word in enumerate(arguments)),
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


async def test_cancelling_one_command_does_not_affect_the_others(valkey: Valkey) -> None:
    """One caller of a batch is cancelled; the others get their results."""
    client = RedisClient(parse_url(valkey.url))
    tasks = [asyncio.create_task(client.script(ECHO, (b"k",), (b"%d" % number,), soon())) for number in range(20)]
    await asyncio.sleep(0)
    tasks[7].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(7), asyncio.CancelledError)
    assert [type(answer) for answer in answers] == [list] * 19
    await client.close()


async def test_closing_the_client_ends_all_calls(valkey: Valkey) -> None:
    """A call that waits for a frozen server ends when the client is closed."""
    client = RedisClient(parse_url(valkey.url))
    await client.script(ECHO, (b"k",), (b"x",), soon())
    valkey.freeze()
    waiting = asyncio.create_task(client.script(ECHO, (b"k",), (b"x",), soon(60)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises((asyncio.CancelledError, StoreError)):
        await asyncio.wait_for(waiting, 10)
    valkey.thaw()
