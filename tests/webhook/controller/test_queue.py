"""The work queue on an event loop: one worker a key, retries, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.webhook.controller.waiting import eventually
from webhook.controller.core.pacing import Backoff
from webhook.controller.core.schedule import Settling
from webhook.controller.metrics import QueueMetrics
from webhook.controller.queue import WorkQueue
from webhook.errors import KubernetesError


def new_queue(*, settling: Settling | None = None, registry: CollectorRegistry | None = None) -> WorkQueue[str]:
    """A queue of words."""
    return WorkQueue(
        "words",
        clock=time.monotonic,
        chance=random.random,
        log=structlog.get_logger(),
        metrics=QueueMetrics(registry or CollectorRegistry()),
        settling=settling,
        backoff=Backoff(first=0.01, limit=0.02),
    )


@contextlib.asynccontextmanager
async def running(
    queue: WorkQueue[str], work: Callable[[str], Awaitable[float | None]], workers: int = 2
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a queue until the end of the block."""
    task = asyncio.create_task(queue.run(work, workers=workers))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_key_has_one_worker_and_the_workers_are_limited() -> None:
    """However wildly keys are added, and the last change of each is worked on after it was made."""
    queue = new_queue()
    world: Counter[str] = Counter()
    seen: dict[str, int] = {}
    at_work: Counter[str] = Counter()
    most = 0

    async def work(key: str) -> None:
        nonlocal most
        at_work[key] += 1
        assert at_work[key] == 1
        most = max(most, at_work.total())
        level = world[key]
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        seen[key] = level
        at_work[key] -= 1

    async with running(queue, work, workers=3):
        for _ in range(2000):
            key = random.choice("abcdefg")
            world[key] += 1
            queue.add(key)
            if random.random() < 0.5:
                await asyncio.sleep(0)
        await eventually(lambda: seen == world)
    assert most == 3


async def test_changes_that_settle_are_one_piece_of_work() -> None:
    """A hundred changes in a row; the clock decides when they end."""
    queue = new_queue(settling=Settling(0.05, 10.0))
    worked: list[str] = []

    async def work(key: str) -> None:
        worked.append(key)

    async with running(queue, work):
        for _ in range(100):
            queue.add("a")
            await asyncio.sleep(0)
        await eventually(lambda: worked)
        queue.add("b")
        await eventually(lambda: worked == ["a", "b"])


async def test_failures_are_told_and_tried_again() -> None:
    """An error of ours in one line, a defect with its traceback; neither stops other keys."""
    queue = new_queue(registry=(registry := CollectorRegistry()))
    tries: Counter[str] = Counter()

    async def work(key: str) -> None:
        tries[key] += 1
        if key == "refused" and tries[key] < 4:
            raise KubernetesError("The API server is made of cheese.")
        if key == "defect" and tries[key] < 3:
            raise ZeroDivisionError

    with capture_logs() as logs:
        async with running(queue, work):
            for key in ("refused", "defect", "fine"):
                queue.add(key)
            await eventually(lambda: tries == {"refused": 4, "defect": 3, "fine": 1})

    refused = [line for line in logs if line["key"] == "refused"]
    assert [line["problem"] for line in refused] == ["The API server is made of cheese."] * 3
    assert [line["log_level"] for line in logs if line["key"] == "defect"] == ["error", "error"]
    outcomes = {
        outcome: registry.get_sample_value("rollonce_queue_done_total", {"queue": "words", "outcome": outcome})
        for outcome in ("done", "retry", "defect")
    }
    assert outcomes == {"done": 3, "retry": 3, "defect": 2}


async def test_work_can_ask_to_look_again() -> None:
    """After the seconds that it returns, and no more when it returns None."""
    queue = new_queue()
    worked = 0

    async def work(_: str) -> float | None:
        nonlocal worked
        worked += 1
        return 0.001 if worked < 5 else None

    async with running(queue, work):
        queue.add_after("a", 0.001)
        await eventually(lambda: worked == 5)


async def test_a_closed_queue_finishes_what_it_began() -> None:
    """`run` returns when the work under way is done, and begins no other."""
    queue = new_queue()
    go_on = asyncio.Event()
    begun: list[str] = []
    ended: list[str] = []

    async def work(key: str) -> None:
        begun.append(key)
        await go_on.wait()
        ended.append(key)

    for key in ("a", "b", "c"):
        queue.add(key)
    async with running(queue, work) as task:
        await eventually(lambda: len(begun) == 2)
        queue.close()
        go_on.set()
        await task
    assert (begun, ended) == (["a", "b"], ["a", "b"])


async def test_cancelled_work_is_not_lost() -> None:
    """As when leadership is lost: the next run begins with it."""
    queue = new_queue()
    begun: list[str] = []

    async def stuck(key: str) -> None:
        begun.append(key)
        await asyncio.Event().wait()

    async def work(key: str) -> None:
        begun.append(key)

    queue.add("a")
    async with running(queue, stuck) as task:
        await eventually(lambda: begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with running(queue, work):
        await eventually(lambda: begun == ["a", "a"])
