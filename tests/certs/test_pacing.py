"""How loops wait."""

import asyncio
from datetime import UTC, datetime

import pytest

from certs.pacing import SHORTEST_REST, Clock, Pace
from tests.certs.clocks import ManualClock
from webhook.runtime.clock import Clock as SystemClock


class Timer(ManualClock):
    """A clock whose sleeps take no time, or never end."""

    def __init__(self, random: float = 1.0, *, endless: bool = False) -> None:
        super().__init__(random=random)
        self.asked: list[float] = []
        self.endless = endless
        self.cancelled = 0
        self.begun = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.begun.set()
        try:
            await asyncio.sleep(3600 if self.endless else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.mark.parametrize(("random", "waited"), [(0.0, 45.0), (0.5, 52.5), (1.0, 60.0)])
async def test_a_rest_is_never_longer_than_asked(random: float, waited: float) -> None:
    """Wait at least three quarters of the time, and at most all of it."""
    timer = Timer(random)
    await Pace(timer).rest(60)
    assert timer.asked == [waited]


@pytest.mark.parametrize(
    ("left", "random", "waited"),
    [(30.0, 0.0, 30.0), (30.0, 1.0, 40.0), (0.0, 0.0, SHORTEST_REST), (-9.0, 0.0, SHORTEST_REST), (60.0, 1.0, 60.0)],
)
async def test_a_loop_never_wakes_before_something_is_due(left: float, random: float, waited: float) -> None:
    """Wait at least a little, so that the API server is not called all the time, and at most until the next check."""
    timer = Timer(random)
    await Pace(timer).rest_until(left, longest=60)
    assert timer.asked == [waited]


async def test_failures_in_a_row_wait_longer_each_time_up_to_a_limit() -> None:
    """After a rest, which means success, the delays start again."""
    timer = Timer()
    pace = Pace(timer)
    for _ in range(40):
        await pace.back_off()
    assert timer.asked[:4] == [0.1, 0.2, 0.4, 0.8]
    assert timer.asked[-1] == 30.0
    await pace.rest(1)
    await pace.back_off()
    assert timer.asked[-1] == 0.1


async def test_waking_ends_a_wait() -> None:
    """Waking ends the present wait or, if there is none, the next one."""
    timer = Timer(endless=True)
    pace = Pace(timer)
    pace.wake()
    await pace.rest(60)
    waiting = asyncio.ensure_future(pace.rest(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    pace.wake()
    await waiting


async def test_cancelling_a_wait_leaves_no_task() -> None:
    """The timer of the wait is cancelled too."""
    timer = Timer(endless=True)
    waiting = asyncio.ensure_future(Pace(timer).rest(60))
    await timer.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert timer.cancelled == 1


async def test_the_clock_of_the_programs_is_accepted() -> None:
    """`webhook.runtime.clock.Clock` has the methods and functions of `certs.pacing.Clock`."""
    clock: Clock = SystemClock(time=lambda: 0.0, jitter=lambda: 0.0)
    assert clock.now() == datetime.fromtimestamp(0, UTC)
    await Pace(clock).rest(0.001)
