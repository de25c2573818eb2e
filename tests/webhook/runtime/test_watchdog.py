"""The watchdog: it ends a process whose event loop stands still, or that does not end in time, and no other."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time

from tests.webhook.kube.waiting import eventually
from webhook.runtime import log
from webhook.runtime.watchdog import Watchdog

TICK = 0.02


class Ends:
    """Records that the process would have ended."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.ended = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.ended.set()


async def test_an_event_loop_that_stands_still_ends_the_process() -> None:
    """The line says where it stands."""
    logged, ends = io.StringIO(), Ends()
    with Watchdog(log.configure("info", "json", logged), silence=0.2, tick=TICK, end=ends) as watchdog:
        watchdog.start()
        assert ends.ended.wait(10)  # blocks the event loop, on purpose
    assert ends.codes == [1]
    line = json.loads(logged.getvalue())
    assert line["event"] == "event loop stands still, ending"
    assert line["seconds"] >= 0.2
    assert "test_watchdog.py" in line["origin"]


async def test_an_event_loop_that_works_is_left_alone() -> None:
    """Many short pieces of work are no standstill, however long they take together."""
    ends = Ends()
    with Watchdog(log.configure("info", "json", io.StringIO()), silence=0.3, tick=TICK, end=ends) as watchdog:
        watchdog.start()
        until = time.monotonic() + 0.8
        while time.monotonic() < until:
            time.sleep(0.01)  # noqa: ASYNC251 - the work
            await asyncio.sleep(0)
    assert ends.codes == []


async def test_a_process_that_does_not_end_in_time_is_ended() -> None:
    """The line names the tasks that are left; of two times the earlier counts."""
    logged, ends = io.StringIO(), Ends()
    with Watchdog(log.configure("info", "json", logged), tick=TICK, end=ends) as watchdog:
        watchdog.start()
        stuck = asyncio.create_task(asyncio.Event().wait(), name="stuck")
        watchdog.end_within(0.1)
        watchdog.end_within(60)
        await eventually(ends.ended.is_set)
        stuck.cancel()
    assert ends.codes == [1]
    line = json.loads(logged.getvalue())
    assert line["event"] == "program does not end in time, ending at once"
    assert "stuck" in line["tasks"]


async def test_a_log_that_cannot_be_written_to_does_not_keep_the_process() -> None:
    """What the event loop waits for may be the reader of the log."""
    ends = Ends()

    class Full(io.StringIO):
        """A stream whose reader does not read."""

        def write(self, text: str) -> int:
            ends.ended.wait(30)
            return len(text)

    with Watchdog(log.configure("info", "json", Full()), silence=0.1, tick=TICK, end=ends) as watchdog:
        watchdog.start()
        assert ends.ended.wait(10)
    assert ends.codes == [1]


async def test_nothing_ends_a_process_after_the_watchdog_was_stopped() -> None:
    """A test or a command that goes on is not ended by a watchdog of before."""
    ends = Ends()
    with Watchdog(log.configure("info", "json", io.StringIO()), silence=0.1, tick=TICK, end=ends) as watchdog:
        watchdog.start()
        watchdog.end_within(0.2)
    assert not ends.ended.wait(0.5)
