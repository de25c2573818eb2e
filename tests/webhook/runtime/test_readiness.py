"""Readiness: each condition must be met once, and is not checked again afterwards."""

from __future__ import annotations

from webhook.errors import StoreError
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock, Retry
from webhook.runtime.readiness import Readiness, release_when


def test_a_program_is_ready_when_every_condition_was_met() -> None:
    """Each unmet condition is a reason; a met condition stays met; a program that drains is not ready."""
    readiness = Readiness()
    redis, api = readiness.wait_for("Redis"), readiness.wait_for("the API server")
    redis.note("connection refused")
    assert readiness.reasons() == ("Redis: connection refused", "the API server: not seen yet")
    redis.release()
    redis.note("down again")
    assert readiness.reasons() == ("the API server: not seen yet",)
    api.release()
    assert readiness.ready
    readiness.start_draining()
    assert readiness.reasons() == ("draining: this replica is about to stop",)


def test_a_fault_of_this_replica_makes_it_unready_while_it_lasts() -> None:
    """What other replicas do not have is a reason for as long as it is there."""
    readiness, faults = Readiness(), [""]
    readiness.watch_for(lambda: faults[0])
    assert readiness.ready
    faults[0] = "Redis: cut off"
    assert (readiness.ready, readiness.reasons()) == (False, ("Redis: cut off",))
    faults[0] = ""
    assert readiness.ready


async def test_a_handle_is_released_when_its_check_passes() -> None:
    """Each problem is shown, whether it is returned or raised, and the check is repeated after a delay."""
    readiness, shown = Readiness(), list[str]()
    handle = readiness.wait_for("Redis")
    results = iter(("no", StoreError("not yet"), ""))

    async def check() -> str:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    async def sleep(_: float) -> None:
        shown.extend(readiness.reasons())

    await release_when(handle, check, Retry(Clock(sleep=sleep), Backoff()))
    assert shown == ["Redis: no", "Redis: not yet"]
    assert readiness.ready
