"""The attacks: each returns what the attacker got, and is used by the tests and by `python -m tests.bench hostile`."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import uuid4

from tests.hostile.caller import (
    API_SERVER,
    MUTATE_DEPLOYMENTS,
    VALIDATE_RUNS,
    Caller,
    Response,
    post,
    review,
    run_review,
)
from tests.hostile.target import Target

MEGABYTE: Final = 10**6
#: A create waits for another one for half of its timeout.
WAITING: Final = "timeout=11s"


async def long_timeout(target: Target) -> list[Response]:
    """Send timeouts of thousands of digits."""
    requests = [post(MUTATE_DEPLOYMENTS, b"{}", query="timeout=" + "9" * size) for size in (3_500, 7_900)]
    return await target.caller().send_all(requests)


async def compressed_body(target: Target) -> list[Response]:
    """Send bodies that expand to gigabytes."""
    # A flushed block stands for itself, so it can be repeated.
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(16 * MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = b"\x78\x9c" + block * (5_800_000 // len(block))
    return await target.caller().send_all([post(MUTATE_DEPLOYMENTS, packed, headers="Content-Encoding: deflate\r\n")])


async def deep_parameters(target: Target) -> list[Response]:
    """Create runs whose parameters are nested as deep as the decoder allows, with a long list inside."""
    inner = "[" + ",".join(["1"] * 9_000) + "]"
    parameters = '{"a":' * 900 + inner + "}" * 900
    return await target.caller().send_all(
        [post(VALIDATE_RUNS, run_review(str(uuid4()), parameters=parameters)) for _ in range(8)]
    )


async def too_deep(target: Target) -> list[Response]:
    """Send reviews nested deeper than the decoder allows, in parts that are decoded and in parts that are not."""
    deep = "[" * 100_000 + "]" * 100_000
    bodies = [
        run_review(str(uuid4()), parameters=deep),
        run_review("@id").replace(b'"@id"', deep.encode()),
        *(run_review("@id").replace(b'"@id"', b"[" * depth + b"]" * depth) for depth in range(900, 1000, 10)),
        review({"metadata": {}, "spec": "@"}).replace(b'"@"', deep.encode()),
    ]
    return await target.caller().send_all([post(VALIDATE_RUNS, body) for body in bodies])


async def dense_bodies(target: Target) -> list[Response]:
    """Send bodies that become thirty times as large when they are decoded."""
    dense = "[" + ",".join(["[]"] * 2_000_000) + "]"
    labels = json.dumps({f"{number:x}": "ab" for number in range(400_000)}, separators=(",", ":"))
    return await target.caller().send_all(
        [
            post(VALIDATE_RUNS, run_review("@id").replace(b'"@id"', dense.encode())),
            post(VALIDATE_RUNS, run_review(str(uuid4()), labels="@labels").replace(b'"@labels"', labels.encode())),
        ]
    )


async def large_waiting_creates(target: Target, count: int = 45) -> list[Response]:
    """Create runs of 6.9 MB of one delivery: all but the first wait for it."""
    requests = _waiting(count, parameters=json.dumps({"a": "x" * 6_900_000}))
    return await target.caller().send_all(requests, at_once=25)


async def waiting_creates(caller: Caller, count: int, *, namespaces: int = 1) -> list[Response]:
    """Create small runs of one delivery in each of some namespaces."""
    return await caller.send_all(_waiting(count, namespaces=namespaces))


def _waiting(count: int, *, parameters: str = "", namespaces: int = 1) -> list[bytes]:
    delivery = str(uuid4())
    return [
        post(
            VALIDATE_RUNS,
            run_review(delivery, namespace=f"hostile-{number % namespaces}", parameters=parameters),
            query=WAITING,
        )
        for number in range(count)
    ]


async def incomplete_bodies(target: Target, count: int = 1000) -> int:
    """Open connections that send 131,000 bytes of a body, and keep them for a moment; return how many were closed."""
    data = post(MUTATE_DEPLOYMENTS, b"x" * 131_072)[:-72]
    async with target.caller().holding(count, data) as readers:
        await asyncio.sleep(1)
        return sum(reader.at_eof() or reader.exception() is not None for reader in readers)


async def long_headers(target: Target, count: int = 500) -> int:
    """Open connections that send 130 KB of a header; return how many are still open."""
    fields = b"".join(b"X-%d: " % number + b"a" * 8_000 + b"\r\n" for number in range(16))
    async with target.caller().holding(count, b"POST / HTTP/1.1\r\nHost: x\r\n" + fields) as readers:
        await asyncio.sleep(1)
        return sum(not reader.at_eof() and reader.exception() is None for reader in readers)


async def half_headers(target: Target, count: int = 1500, *, seconds: float = 1.0) -> int:
    """Open connections that send half a header; return how many are still open."""
    async with target.caller().holding(count, b"POST / HTTP/1.1\r\nHost: x\r\n") as readers:
        await asyncio.sleep(seconds)
        return sum(not reader.at_eof() and reader.exception() is None for reader in readers)


async def pipelined_requests(target: Target) -> int:
    """Send requests without waiting for answers; return how many answers came."""
    reader, writer = await target.caller().connect()
    one = post(VALIDATE_RUNS, run_review(str(uuid4()), parameters=json.dumps({"a": "x" * 30_000})))
    try:
        writer.write(one * 300)
        async with asyncio.timeout(20):
            return (await reader.read()).count(b"HTTP/1.1 200")
    except OSError:
        return 0
    finally:
        writer.transport.abort()


async def large_kinds(target: Target) -> list[Response]:
    """Send reviews whose kind, name, uid or namespace have six megabytes."""
    long = "K" * (6 * MEGABYTE)
    kind = {"group": "apps", "version": "v1", "kind": long}
    fields: list[dict[str, Any]] = [{"kind": kind}, {"name": long}, {"uid": long}, {"namespace": long}]
    bodies = [
        review({"metadata": {}}, operation=operation, **one) for operation in ("CREATE", "DELETE") for one in fields
    ]
    return await target.caller().send_all([post(MUTATE_DEPLOYMENTS, body) for body in bodies], at_once=2)


def statuses(responses: list[Response]) -> Counter[int]:
    """Count the statuses of answers."""
    return Counter(response.status for response in responses)


#: What `python -m tests.bench hostile` runs.
ATTACKS: Final[dict[str, Callable[[Target], Coroutine[Any, Any, object]]]] = {
    "timeouts of 8,000 digits": long_timeout,
    "5.6 GB of zeros, deflated": compressed_body,
    "parameters 900 levels deep": deep_parameters,
    "100,000 levels": too_deep,
    "bodies that grow thirtyfold": dense_bodies,
    "45 waiting creates of 6.9 MB": large_waiting_creates,
    "512 waiting creates": lambda target: waiting_creates(target.caller(API_SERVER), 512),
    "1,000 bodies of 131 KB": incomplete_bodies,
    "500 headers of 130 KB": long_headers,
    "1,500 half-sent headers": half_headers,
    "300 pipelined requests": pipelined_requests,
    "names of 6 MB": large_kinds,
}
