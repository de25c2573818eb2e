"""What a decision on a create costs, and what a record takes in memory.

    python -m tests.bench decisions [--decisions N] [--writers N]
    python -m tests.bench decisions --records N

The first form measures a serving process's share: a review comes in as bytes and goes out as bytes, with a real Valkey
beside. Decisions a second and core are counted by the CPU time of this process, so that neither Valkey nor whatever
else the machine does takes part. The second form fills a Valkey with records and says what one takes.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import redis
import structlog
import uvloop
from prometheus_client import CollectorRegistry

from tests.valkey import Valkey
from tests.webhook.hooks.dedupe.world import Storage, make_run
from webhook.admission.deadline import Deadline
from webhook.clients.redis import RedisClient, parse_url
from webhook.hooks import dedupe
from webhook.hooks.dedupe.core.key import BUCKETS, DeliveryKey, mark_key
from webhook.hooks.dedupe.core.record import NO_REQUEST, Record, State, encode, request_token
from webhook.hooks.dedupe.registration import VALIDATE_PATH
from webhook.hooks.dedupe.store import RESERVE

_BATCH = 1000
_DAY_MS = 86_400_000
_STEADY = 5
_LOOK_SECONDS = 0.2
_NOISE_BYTES = 65_536
_NAME_LENGTHS = (24, 63)


def main(arguments: list[str]) -> None:
    """Measure what the arguments say, and print it."""
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
                        size = record_bytes(valkey.url, given.records, length, state)
                    print(f"{state.name.lower():9} name of {length} characters: {size:.0f} bytes a record")
        else:
            with Valkey.start(Path(folder) / "valkey") as valkey:
                uvloop.run(decisions(valkey.url, given.decisions, given.writers))


def record_bytes(url: str, count: int, length: int, state: State) -> float:
    """Fill a server as the webhook does, and return the memory that each record takes, all counted."""
    client: Any = redis.Redis.from_url(url)

    def reserve(number: int, pipe: Any) -> None:
        key = DeliveryKey("shop", "nightly", str(uuid.uuid4()))
        request = request_token(str(uuid.uuid4())) if state is State.RESERVED else NO_REQUEST
        phase = "Succeeded" if state is State.CONFIRMED else ""
        name = f"nightly-{number:x}-".ljust(length, "n")
        record = encode(Record(state, name, str(uuid.uuid4()), request, b"f" * 8, int(time.time()), phase=phase))
        pipe.evalsha(sha, 2, key.record_key, mark_key(key.bucket), record, 7 * _DAY_MS, b"", b"")

    mark = b"W" + client.info("replication")["master_replid"].encode()
    for bucket in range(BUCKETS):
        client.set(mark_key(bucket), mark)
    before = settled_bytes(client)
    sha = client.script_load(RESERVE.source)
    for start in range(0, count, _BATCH):
        pipe = client.pipeline(transaction=False)
        for number in range(start, min(start + _BATCH, count)):
            reserve(number, pipe)
        assert {reply[0] for reply in pipe.execute()} == {b"made"}
    used = settled_bytes(client) - before
    client.close()
    return used / count


def settled_bytes(client: Any) -> float:
    """Return the memory in use once scripts are forgotten and tables have grown."""
    client.script_flush()
    last, same = 0, 0
    while same < _STEADY:
        now = client.info("memory")["used_memory"]
        same = same + 1 if abs(now - last) < _NOISE_BYTES else 0
        last = now
        time.sleep(_LOOK_SECONDS)
    return float(last)


def reviews(count: int) -> list[bytes]:
    """Reviews of creates, each of a delivery of its own, as the API server sends them."""
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
    """Decide creates one after the other and side by side, and print how fast."""
    client = RedisClient(parse_url(url))
    store = dedupe.Store(client)
    hooks = dedupe.hooks(
        dedupe.DedupeSettings(),
        Storage(),
        store,
        clock=time.time,
        monotonic=time.monotonic,
        log=structlog.get_logger(),
        metrics=dedupe.DedupeMetrics(CollectorRegistry()),
    )
    hook = next(hook for hook in hooks if hook.path == VALIDATE_PATH)
    await store.declare_new(soon())
    for body in reviews(500):
        assert (await hook.answer(body, soon())).outcome == "allowed"
    alone = []
    for body in reviews(count // 4):
        began = time.perf_counter()
        assert (await hook.answer(body, soon())).outcome == "allowed"
        alone.append(time.perf_counter() - began)
    waiting = iter(reviews(count))

    async def write() -> None:
        for body in waiting:
            assert (await hook.answer(body, soon())).outcome == "allowed"

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write() for _ in range(writers)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await client.close()
    p50, p99 = statistics.median(alone), statistics.quantiles(alone, n=100)[98]
    print(f"one connection: p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, {len(alone) / sum(alone):.0f} decisions/s")
    print(f"{writers} writers: {count / cpu:.0f} decisions/s a core, {count / wall:.0f} decisions/s as it went")


def soon() -> Deadline:
    """The time that the API server gives."""
    return Deadline.after(10, time.monotonic)
