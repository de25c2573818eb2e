"""The cost of a decision on a create, and the memory of a record.

    python -m tests.bench decisions [--decisions N] [--writers N]
    python -m tests.bench decisions --records N

The first form measures what a serving process does for a create, from the bytes of the review to the bytes of the
answer, with a real Valkey. Decisions per second and core are counted by the CPU time of this process, so that neither
Valkey nor other processes of the machine count. The second form fills a Valkey with records and prints the memory of
one record.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import redis
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from tests.valkey import Valkey
from tests.webhook.dedupe.world import Storage, make_run
from webhook.dedupe.buckets import Buckets
from webhook.dedupe.core.identity import DeliveryKey
from webhook.dedupe.core.record import NO_REQUEST, Record, State, request_token
from webhook.dedupe.core.reservation import ReserveOutcome
from webhook.dedupe.feature import VALIDATE
from webhook.dedupe.metrics import DedupeMetrics
from webhook.dedupe.positions import Positions
from webhook.dedupe.settings import DedupeSettings
from webhook.dedupe.store import Store
from webhook.dedupe.wiring import Deduplication, StateAddress
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.store.client import RedisClient
from webhook.store.url import parse_url

_BATCH = 60
_DAY_MS = 86_400_000
_STEADY = 5
_POLL_SECONDS = 0.2
_NOISE_BYTES = 65_536
_NAME_LENGTHS = (24, 63)


def main(arguments: list[str]) -> None:
    """Measure as the arguments say, and print the result."""
    parser = argparse.ArgumentParser(prog="decisions")
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--writers", type=int, default=32)
    parser.add_argument("--records", type=int, default=0)
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        if given.records:
            for length in _NAME_LENGTHS:
                for state in (State.RESERVED, State.CONFIRMED):
                    with Valkey.start(Path(folder) / f"{length}-{state.name}", appendonly=None) as valkey:
                        size = uvloop.run(record_bytes(valkey.url, given.records, length, state))
                    print(f"{state.name.lower():9} name of {length} characters: {size:.0f} bytes a record")
        else:
            with Valkey.start(Path(folder) / "valkey") as valkey:
                uvloop.run(decisions(valkey.url, given.decisions, given.writers))


async def record_bytes(url: str, count: int, length: int, state: State) -> float:
    """Fill a server as the webhook does, and return the memory of each record, with everything included.

    A reservation that nothing has confirmed has a member in the pending set besides its record.
    """
    client = RedisClient(parse_url(url))
    store = Store(client, Positions())
    await Buckets(client).declare_all_synced(soon())
    raw: Any = redis.Redis.from_url(url)
    before = settled_bytes(raw)

    async def reserve(number: int) -> None:
        key = DeliveryKey("shop", "nightly", str(uuid.uuid4()))
        name, uid = f"nightly-{number:x}-".ljust(length, "n"), str(uuid.uuid4())
        record = Record(State.RESERVED, name, uid, request_token(str(uuid.uuid4())), b"f" * 8, int(time.time()))
        made = await store.reserve(key, record, ttl=7 * _DAY_MS, deadline=soon())
        assert made.outcome is ReserveOutcome.MADE
        if state is State.CONFIRMED:
            found, reserved = await store.get(key.address, soon())
            assert reserved is not None
            confirmed = replace(reserved, state=state, request=NO_REQUEST, phase="Succeeded")
            assert await store.swap(key.address, found, confirmed, soon())

    for start in range(0, count, _BATCH):
        await asyncio.gather(*map(reserve, range(start, min(start + _BATCH, count))))
    used = settled_bytes(raw) - before
    raw.close()
    await client.close()
    return used / count


def settled_bytes(client: Any) -> float:
    """Return the memory in use after scripts were removed and the server has finished to resize its tables."""
    client.script_flush()
    last, same = 0, 0
    while same < _STEADY:
        now = client.info("memory")["used_memory"]
        same = same + 1 if abs(now - last) < _NOISE_BYTES else 0
        last = now
        time.sleep(_POLL_SECONDS)
    return float(last)


def reviews(count: int) -> list[bytes]:
    """Return reviews of creates, each of another delivery, as the API server sends them."""
    made = []
    for number in range(count):
        run = make_run(f"nightly-{number}", uid=str(uuid.uuid4()), created=time.time(), delivery_id=str(uuid.uuid4()))
        request = {
            "uid": str(uuid.uuid4()),
            "operation": "CREATE",
            "name": run.name,
            "namespace": run.namespace,
            "dryRun": False,
            "object": run,
        }
        made.append(
            msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        )
    return made


async def decisions(url: str, count: int, writers: int) -> None:
    """Decide creates one after the other and concurrently, and print the rates."""
    client = RedisClient(parse_url(url))
    deduplication = Deduplication(
        DedupeSettings(),
        Storage(),
        client,
        state=StateAddress(),
        clock=Clock(),
        log=structlog.get_logger(),
        metrics=DedupeMetrics(CollectorRegistry()),
    )
    endpoint = VALIDATE.bind(deduplication.handlers)
    await deduplication.keeper.step()
    # Without it no missing record would be trusted. What follows the store is left out: it would look for all runs,
    # of which none is stored.
    keeper = asyncio.create_task(deduplication.keeper.run())
    for body in reviews(500):
        assert (await endpoint.answer(body, soon())).outcome == "allowed"
    latencies = []
    for body in reviews(count // 4):
        began = time.perf_counter()
        assert (await endpoint.answer(body, soon())).outcome == "allowed"
        latencies.append(time.perf_counter() - began)
    waiting = iter(reviews(count))

    async def write() -> None:
        for body in waiting:
            assert (await endpoint.answer(body, soon())).outcome == "allowed"

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write() for _ in range(writers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    await client.close()
    p50, p99 = statistics.median(latencies), statistics.quantiles(latencies, n=100)[98]
    rate = len(latencies) / sum(latencies)
    print(f"one connection: p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, {rate:.0f} decisions/s")
    print(f"{writers} writers: {count / cpu:.0f} decisions/s a core, {count / wall:.0f} decisions/s as it went")


def soon() -> Deadline:
    """Return a deadline as the API server sets it."""
    return Deadline.after(10, time.monotonic)
