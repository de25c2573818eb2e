"""How loops wait."""

import asyncio

import pytest

from certs.pacing import SHORTEST_REST, Pace


class Timer:
    """A sleep that takes no time, or for ever."""

    def __init__(self, *, endless: bool = False) -> None:
        self.asked: list[float] = []
        self.endless = endless
        self.cancelled = 0
        self.begun = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.begun.set()
        try:
            await asyncio.sleep(3600 if self.endless else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.mark.parametrize(("chance", "waited"), [(0.0, 45.0), (0.5, 52.5), (1.0, 60.0)])
async def test_a_rest_is_never_longer_than_asked(chance: float, waited: float) -> None:
    """And not shorter than three quarters."""
    timer = Timer()
    await Pace(sleep=timer, chance=lambda: chance).rest(60)
    assert timer.asked == [waited]


@pytest.mark.parametrize(
    ("left", "chance", "waited"),
    [(30.0, 0.0, 30.0), (30.0, 1.0, 40.0), (0.0, 0.0, SHORTEST_REST), (-9.0, 0.0, SHORTEST_REST), (60.0, 1.0, 60.0)],
)
async def test_what_is_due_is_never_looked_at_too_early(left: float, chance: float, waited: float) -> None:
    """Nor in a hurry that would ask the API server all the time, nor later than the usual look."""
    timer = Timer()
    await Pace(sleep=timer, chance=lambda: chance).rest_until(left, longest=60)
    assert timer.asked == [waited]


async def test_failures_in_a_row_wait_longer_each_time_up_to_a_limit() -> None:
    """A rest, which means success, begins anew."""
    timer = Timer()
    pace = Pace(sleep=timer, chance=lambda: 1.0)
    for _ in range(40):
        await pace.back_off()
    assert timer.asked[:4] == [0.1, 0.2, 0.4, 0.8]
    assert timer.asked[-1] == 30.0
    await pace.rest(1)
    await pace.back_off()
    assert timer.asked[-1] == 0.1


async def test_waking_ends_a_wait() -> None:
    """The one under way or, where there is none, the next one."""
    timer = Timer(endless=True)
    pace = Pace(sleep=timer, chance=lambda: 1.0)
    pace.wake()
    await pace.rest(60)
    waiting = asyncio.ensure_future(pace.rest(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    pace.wake()
    await waiting


async def test_cancelling_a_wait_leaves_nothing_behind() -> None:
    """Its timer is cancelled too."""
    timer = Timer(endless=True)
    waiting = asyncio.ensure_future(Pace(sleep=timer, chance=lambda: 1.0).rest(60))
    await timer.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert timer.cancelled == 1
