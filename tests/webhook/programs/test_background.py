"""What runs beside the main business: it begins anew after a defect and ends with the program."""

from __future__ import annotations

import asyncio
import io

from webhook import log
from webhook.programs.background import Background, keep_running


async def test_a_defect_ends_a_part_only_for_a_moment() -> None:
    """It is logged with its traceback but not with its text, and the part begins anew."""
    logged, tries = io.StringIO(), 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RuntimeError("hush-hush")

    await keep_running("sweeper", work, log.configure("info", "json", logged), pause=0.01)
    assert tries == 3
    assert logged.getvalue().count('"part": "sweeper"') == 2
    assert "RuntimeError" in logged.getvalue()
    assert "hush-hush" not in logged.getvalue()


async def test_the_end_of_the_program_is_the_end_of_its_parts() -> None:
    """Each is cancelled and gets its time to clean up."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with Background(log.configure("info", "json", io.StringIO())) as parts:
        parts.start("waiter", work)
        await began.wait()
    assert ended.is_set()
