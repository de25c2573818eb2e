"""Background tasks: restarted after an expected failure, not after a defect, and cancelled when the program ends."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from webhook.errors import KubernetesError, StoreError
from webhook.runtime import log
from webhook.runtime.background import Background, DefectError, keep_running
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger

QUICK = Backoff(first=0.01, limit=0.02)


def logging_to(stream: io.StringIO) -> Logger:
    """Return a logger that writes JSON to a stream."""
    return log.configure("info", "json", stream)


async def test_a_task_is_restarted_after_an_expected_failure() -> None:
    """One line says what happened, also if several parts of the task failed at once."""
    logged, attempts = io.StringIO(), 0

    async def refuse(error: Exception) -> None:
        raise error

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise KubernetesError("The API server is away.")
        if attempts == 2:
            async with asyncio.TaskGroup() as group:
                group.create_task(refuse(StoreError("Redis is away.")))
                group.create_task(refuse(KubernetesError("So is the API server.")))

    await keep_running("sweeper", work, logging_to(logged), Clock(), backoff=QUICK)
    assert attempts == 3
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert [(line["event"], line["task"], line["problem"]) for line in lines] == [
        ("task failed, restarting", "sweeper", "The API server is away."),
        ("task failed, restarting", "sweeper", "Redis is away. So is the API server."),
    ]


async def test_a_task_that_ran_for_long_is_restarted_soon() -> None:
    """Its delay starts from the beginning, while failures in a row are waited for longer and longer."""
    now, attempts, waited = 0.0, 0, list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def work() -> None:
        nonlocal now, attempts
        attempts += 1
        now += 61 if attempts == 4 else 1
        if attempts < 6:
            raise KubernetesError("away")

    clock = Clock(monotonic=lambda: now, sleep=sleep, jitter=lambda: 1.0)
    backoff = Backoff(first=2, limit=60)
    await keep_running("long", work, logging_to(io.StringIO()), clock, backoff=backoff)
    assert waited == [2, 4, 8, 2, 4]


async def test_a_defect_ends_the_task_and_asks_the_program_to_stop() -> None:
    """It is logged once, in one line, with its type and place and without its text."""
    logged, stop = io.StringIO(), asyncio.Event()

    async def inner() -> None:
        raise RuntimeError("hush-hush")

    async def leader() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_running("inner", inner, logging_to(logged), Clock()))
            group.create_task(asyncio.Event().wait())

    async with Background(logging_to(logged), Clock(), stop=stop) as tasks:
        tasks.start("outer", leader)
        await stop.wait()
    assert tasks.defects == ["inner"]
    (line,) = [json.loads(line) for line in logged.getvalue().splitlines()]
    assert line["event"] == "task failed by a defect, ending"
    assert (line["task"], line["error"]) == ("inner", "RuntimeError")
    assert line["origin"].startswith("runtime/test_background.py:")
    assert "exception" not in line
    assert "hush-hush" not in logged.getvalue()


async def test_a_defect_beside_an_expected_failure_is_a_defect() -> None:
    """A task group can report both at once."""

    async def work() -> None:
        raise ExceptionGroup("both", [KubernetesError("away"), ValueError("hush")])

    with pytest.raises(DefectError):
        await keep_running("both", work, logging_to(io.StringIO()), Clock())


async def test_the_end_of_the_program_cancels_its_tasks() -> None:
    """Each background task is cancelled and can finish its cleanup."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with Background(logging_to(io.StringIO()), Clock()) as tasks:
        tasks.start("waiter", work)
        await began.wait()
    assert ended.is_set()
    assert (tasks.defects, tasks.stuck) == ([], [])


async def test_a_failure_during_the_cancellation_does_not_start_the_task_again() -> None:
    """A task group reports the failure of a member instead of its own cancellation."""
    began, starts = asyncio.Event(), 0

    async def member() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise KubernetesError("The connection is closed.")

    async def work() -> None:
        nonlocal starts
        starts += 1
        async with asyncio.TaskGroup() as group:
            group.create_task(member())

    async with Background(logging_to(io.StringIO()), Clock(), cancel_seconds=20) as tasks:
        tasks.start("group", work)
        await began.wait()
    assert (starts, tasks.stuck, tasks.defects) == (1, [], [])


async def test_a_task_that_ignores_its_cancellation_is_left_behind() -> None:
    """The end of the program does not wait for it for ever, and its name is logged."""
    logged, began, release = io.StringIO(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with Background(logging_to(logged), Clock(), cancel_seconds=0.05) as tasks:
        tasks.start("stubborn", work)
        await began.wait()
    assert tasks.stuck == ["stubborn"]
    assert json.loads(logged.getvalue())["tasks"] == ["stubborn"]
    release.set()
