"""The work queue on an event loop: one worker per key, retries, and cancellation."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.webhook.kube.waiting import eventually
from webhook.errors import KubernetesError
from webhook.kube.core.schedule import Settling
from webhook.kube.metrics import QueueMetrics
from webhook.kube.work_queue import WorkQueue
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock


def new_queue(*, settling: Settling | None = None, registry: CollectorRegistry | None = None) -> WorkQueue[str]:
    """Return a queue of texts."""
    return WorkQueue(
        "texts",
        clock=Clock(),
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
    """For keys added at random, each key has one worker at a time and its last change is processed."""
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


async def test_settled_changes_are_processed_once() -> None:
    """A hundred changes in a row are processed once."""
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


async def test_failures_are_logged_and_retried() -> None:
    """An expected failure is logged in one line, a defect with a traceback; neither stops other keys."""
    queue = new_queue(registry=(registry := CollectorRegistry()))
    attempts: Counter[str] = Counter()

    async def work(key: str) -> None:
        attempts[key] += 1
        if key == "refused" and attempts[key] < 4:
            raise KubernetesError("The API server has failed.")
        if key == "defect" and attempts[key] < 3:
            raise ZeroDivisionError

    with capture_logs() as logs:
        async with running(queue, work):
            for key in ("refused", "defect", "fine"):
                queue.add(key)
            await eventually(lambda: attempts == {"refused": 4, "defect": 3, "fine": 1})

    refused = [line for line in logs if line["key"] == "refused"]
    assert [line["problem"] for line in refused] == ["The API server has failed."] * 3
    assert [line["log_level"] for line in logs if line["key"] == "defect"] == ["error", "error"]
    outcomes = {
        outcome: registry.get_sample_value("rollonce_queue_done_total", {"queue": "texts", "outcome": outcome})
        for outcome in ("done", "retry", "defect")
    }
    assert outcomes == {"done": 3, "retry": 3, "defect": 2}


async def test_a_returned_delay_repeats_the_key() -> None:
    """The key is processed again after the returned seconds, and not again after None."""
    queue = new_queue()
    worked = 0

    async def work(_: str) -> float | None:
        nonlocal worked
        worked += 1
        return 0.001 if worked < 5 else None

    async with running(queue, work):
        queue.add_after("a", 0.001)
        await eventually(lambda: worked == 5)


async def test_cancelled_work_is_repeated_in_the_next_run() -> None:
    """A key whose work was cancelled, as when leadership is lost, is the first of the next run."""
    queue = new_queue()
    started: list[str] = []

    async def stuck(key: str) -> None:
        started.append(key)
        await asyncio.Event().wait()

    async def work(key: str) -> None:
        started.append(key)

    queue.add("a")
    async with running(queue, stuck) as task:
        await eventually(lambda: started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with running(queue, work):
        await eventually(lambda: started == ["a", "a"])
