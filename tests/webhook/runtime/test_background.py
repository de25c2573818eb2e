"""Background tasks: they are restarted after a defect, and cancelled when the program ends."""

from __future__ import annotations

import asyncio
import io

from webhook.runtime import log
from webhook.runtime.background import Background, keep_running
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock


async def test_a_task_is_restarted_after_a_defect() -> None:
    """A defect is logged with its traceback but without the text of the exception."""
    logged, attempts = io.StringIO(), 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("hush-hush")

    logger = log.configure("info", "json", logged)
    await keep_running("sweeper", work, logger, Clock(), backoff=Backoff(first=0.01, limit=0.02))
    assert attempts == 3
    assert logged.getvalue().count('"task": "sweeper"') == 2
    assert "RuntimeError" in logged.getvalue()
    assert "hush-hush" not in logged.getvalue()


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

    async with Background(log.configure("info", "json", io.StringIO()), Clock()) as tasks:
        tasks.start("waiter", work)
        await began.wait()
    assert ended.is_set()
