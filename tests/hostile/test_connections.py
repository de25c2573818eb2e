"""Nobody can keep others out by opening connections, on either port."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from tests.hostile.caller import API_SERVER, ATTACKER, MUTATE_DEPLOYMENTS, Caller, post, review
from tests.hostile.target import Target

HALF = b"POST / HTTP/1.1\r\nHost: x\r\n"
HEALTH = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
DEPLOYMENT = post(MUTATE_DEPLOYMENTS, review({"metadata": {"name": "web"}, "spec": {}}))


@pytest.mark.parametrize(("health", "count", "most"), [(False, 900, 640), (True, 300, 64)])
async def test_one_address_has_so_many_connections_at_most(
    target: Target, *, health: bool, count: int, most: int
) -> None:
    """Further connections take the place of the address's own oldest idle ones, and other addresses are served."""
    caller = target.health_caller() if health else target.caller()
    other = replace(caller, source=API_SERVER)
    async with caller.holding(count, HALF) as readers:
        async with asyncio.timeout(15):
            while _open(readers) > most:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        assert (await other.send(HEALTH if health else DEPLOYMENT)).status == 200
        assert (await caller.send(HEALTH if health else DEPLOYMENT)).status == 200


async def test_many_addresses_leave_room_for_another(target: Target) -> None:
    """If the port is full, the address with the most connections loses one for each that another opens."""
    callers = [target.health_caller(f"127.0.0.{number}") for number in range(10, 14)]
    async with contextlib.AsyncExitStack() as stack:
        for caller in callers:
            await stack.enter_async_context(caller.holding(60, HALF))
        for _ in range(5):
            assert (await target.health_caller(API_SERVER).send(HEALTH)).status == 200


async def test_a_header_has_to_arrive_in_time(target: Target) -> None:
    """Half a header, or a byte of it now and then, keeps a connection for ten seconds at most."""
    reader, writer = await target.caller().connect()
    plain_reader, plain_writer = await target.health_caller().connect()
    for one in (writer, plain_writer):
        one.write(HALF)
    try:
        async with asyncio.timeout(14):
            assert await reader.read() == b""
            assert await plain_reader.read() == b""
    finally:
        writer.transport.abort()
        plain_writer.transport.abort()


async def test_handshakes_that_do_not_come_take_no_place_of_others(target: Target) -> None:
    """Connections without a TLS handshake count as connections of their address."""
    plain = Caller(target.replica.port, None, ATTACKER)
    async with plain.holding(700, b"") as readers:
        async with asyncio.timeout(15):
            while _open(readers) > 640:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        assert (await target.caller(API_SERVER).send(DEPLOYMENT)).status == 200


def _open(readers: list[asyncio.StreamReader]) -> int:
    return sum(not reader.at_eof() and reader.exception() is None for reader in readers)
