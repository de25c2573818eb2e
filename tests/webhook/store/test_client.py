"""The URLs of the store, and connections to real servers of each form."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.controlplane.ports import free_ports
from tests.topologies import cluster, replicated, sentinels
from tests.valkey import Valkey
from webhook.errors import ConfigurationError, DeadlineExceededError, StoreError
from webhook.runtime.deadline import Deadline
from webhook.store.api import Script
from webhook.store.client import RedisClient
from webhook.store.url import RedisUrl, parse_url

ECHO = Script.of("return {redis.call('INCR', KEYS[1]), ARGV[1]}")


def soon(seconds: float = 5.0) -> Deadline:
    """Return a deadline."""
    return Deadline.after(seconds, time.monotonic)


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("redis://cache", RedisUrl("standalone", (("cache", 6379),))),
        ("redis://u:p%40ss@cache:1/2", RedisUrl("standalone", (("cache", 1),), username="u", password="p@ss", db=2)),
        ("redis://:secret@[::1]:7", RedisUrl("standalone", (("::1", 7),), password="secret")),
        (
            "rediss://cache?ssl_ca_certs=/ca.pem&connections=5",
            RedisUrl("standalone", (("cache", 6379),), tls=True, ca="/ca.pem", connections=5),
        ),
        ("unix:///run/valkey.sock?db=3", RedisUrl("unix", path="/run/valkey.sock", db=3)),
        (
            "redis+sentinel://a,b:5/main/1",
            RedisUrl("sentinel", (("a", 26379), ("b", 5)), service="main", db=1),
        ),
        (
            "redis://cache?wait_replicas=2&wait_milliseconds=50",
            RedisUrl("standalone", (("cache", 6379),), wait_replicas=2, wait_milliseconds=50),
        ),
        ("rediss+cluster://a:1,b:2", RedisUrl("cluster", (("a", 1), ("b", 2)), tls=True)),
    ],
)
def test_urls_are_parsed(url: str, parsed: RedisUrl) -> None:
    """Each form of URL gives the address and the options."""
    assert parse_url(url) == parsed


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://cache", "schemes"),
        ("cache:6379", "schemes"),
        ("redis://", "host"),
        ("redis://cache:port", "URL is wrong"),
        ("redis://cache/one", "URL is wrong"),
        ("redis://cache/1/2", "too many parts"),
        ("redis+sentinel://a", "service"),
        ("redis+cluster://a/1", "databases"),
        ("unix://", "socket"),
        ("redis://cache?timeout=5", "timeout"),
        ("redis://cache?connections=0", "connections"),
        ("redis://cache?wait_replicas=-1", "wait_replicas"),
        ("redis://cache?wait_replicas=1&wait_milliseconds=60000", "wait_milliseconds"),
        ("redis+cluster://cache?wait_replicas=1", "wait_replicas"),
    ],
)
def test_a_wrong_url_is_rejected(url: str, word: str) -> None:
    """The error names the part of the URL that is wrong."""
    with pytest.raises(ConfigurationError, match=word):
        parse_url(url)


def test_no_password_is_shown() -> None:
    """Neither the text of a URL, nor its repr, nor an error about it shows the password."""
    url = parse_url("redis://user:hunter2@cache")
    assert "hunter2" not in f"{url} {url!r}"
    with pytest.raises(ConfigurationError) as caught:
        parse_url("redis://user:hunter2@cache:port")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"unix_socket": True}, {"tls": True}, {"password": "p@ss/word"}])
async def test_each_connection_to_one_server_works(tmp_path: Path, options: dict[str, bool]) -> None:
    """A port, a socket, TLS and a password: a script runs, the first time and when the server has it."""
    with Valkey.start(tmp_path / "v", **options) as valkey:  # type: ignore[arg-type]  # one option of several types
        client = RedisClient(parse_url(valkey.url))
        assert await client.script(ECHO, (b"n",), (b"x",), soon()) == [1, b"x"]
        assert await client.script(ECHO, (b"n",), (b"y",), soon()) == [2, b"y"]
        await client.close()


async def test_a_refused_connection_is_a_store_error() -> None:
    """A refused connection is a `StoreError`, well within the deadline."""
    client = RedisClient(parse_url(f"redis://127.0.0.1:{free_ports(1)[0]}"))
    deadline = soon()
    with pytest.raises(StoreError):
        await client.command("PING", deadline=deadline)
    assert deadline.remaining() > 0
    with pytest.raises(DeadlineExceededError):
        await client.command("PING", deadline=soon(0))
    await client.close()


async def test_a_frozen_server_is_an_error_before_the_deadline_and_used_again(valkey: Valkey) -> None:
    """A server that does not answer is a `StoreError`; thawed, the same client works."""
    client = RedisClient(parse_url(valkey.url))
    await client.command("PING", deadline=soon())
    valkey.freeze()
    deadline = soon(20)
    results = await asyncio.gather(
        *(client.command("PING", deadline=deadline) for _ in range(200)), return_exceptions=True
    )
    assert {type(result) for result in results} == {StoreError}
    assert deadline.remaining() > 0
    valkey.thaw()
    await until_it_answers(client)
    await client.close()


async def until_it_answers(client: RedisClient, seconds: float = 20) -> None:
    """Wait until a script runs."""
    deadline = soon(seconds)
    while True:
        try:
            await client.script(ECHO, (b"{00}n",), (b"x",), deadline.within(2))
        except StoreError:
            deadline.require()
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_cancelled_task_ends(valkey: Valkey) -> None:
    """A cancellation is never swallowed, also if it comes together with an answer."""
    client = RedisClient(parse_url(valkey.url))

    async def ask_for_ever() -> None:
        while True:
            await client.command("PING", deadline=soon())

    for steps in range(200):
        task = asyncio.create_task(ask_for_ever())
        for _ in range(steps % 25):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        assert done
    await client.close()


async def test_a_restarted_server_gets_the_script_again(valkey: Valkey) -> None:
    """A server that has lost its scripts is sent the source."""
    client = RedisClient(parse_url(valkey.url))
    await client.script(ECHO, (b"n",), (b"x",), soon())
    await client.command("SCRIPT", b"FLUSH", deadline=soon())
    assert await client.script(ECHO, (b"n",), (b"x",), soon()) == [2, b"x"]
    await client.close()


async def test_sentinel_gives_the_new_primary(tmp_path: Path) -> None:
    """When the primary dies, the client connects to the server that has taken over."""
    with sentinels(tmp_path) as servers:
        client = RedisClient(parse_url(servers.url))
        await until_it_answers(client)
        servers.primary.kill()
        await until_it_answers(client, 40)
        await client.close()


async def test_a_cluster_runs_scripts_in_each_shard(tmp_path: Path) -> None:
    """Scripts on keys of every bucket run in the right shard, and `INFO` is read from each server."""
    with cluster(tmp_path) as (url, nodes):
        client = RedisClient(parse_url(url))
        keys = {b"r{%02x}" % bucket for bucket in range(64)}
        for key in keys:
            assert await client.script(ECHO, (key,), (b"x",), soon()) == [1, b"x"]
        await client.script(ECHO, (b"other",), (b"x",), soon())
        assert {key async for page in client.keys(b"r{*}", soon) for key in page} == keys
        infos = await client.infos(soon())
        assert sorted(info["tcp_port"] for info in infos.values()) == sorted(str(node.port) for node in nodes)
        await client.close()


async def test_a_replica_acknowledges_what_a_script_wrote(tmp_path: Path) -> None:
    """A running replica acknowledges a write, a frozen one does not, within bounded time."""
    with replicated(tmp_path) as (primary, replica):
        client = RedisClient(parse_url(f"{primary.url}?wait_replicas=1&wait_milliseconds=200"))
        # The first time the server does not have the script.
        assert await client.acknowledged(ECHO, (b"n",), (b"x",), soon()) == ([1, b"x"], True)
        assert await client.acknowledged(ECHO, (b"n",), (b"x",), soon()) == ([2, b"x"], True)
        replica.freeze()
        assert await client.acknowledged(ECHO, (b"n",), (b"x",), soon()) == ([3, b"x"], False)
        replica.thaw()
        deadline = soon(20)
        while not (await client.acknowledged(ECHO, (b"n",), (b"x",), deadline))[1]:
            deadline.require()
        with pytest.raises(StoreError) as caught:
            await client.acknowledged(Script.of("return redis.call('NO')"), (b"n",), (b"hush",), soon())
        assert "hush" not in str(caught.value)
        await client.close()


async def test_without_wait_replicas_nothing_is_waited_for(valkey: Valkey) -> None:
    """By default every write counts as acknowledged."""
    client = RedisClient(parse_url(valkey.url))
    assert await client.acknowledged(ECHO, (b"n",), (b"x",), soon()) == ([1, b"x"], True)
    assert list(await client.infos(soon())) == [""]
    await client.close()
