"""What a caller sends has bounds in time and memory."""

from __future__ import annotations

import asyncio

from tests.hostile import attacks
from tests.hostile.attacks import statuses
from tests.hostile.cage import LIMIT_BYTES
from tests.hostile.caller import API_SERVER, MUTATE_DEPLOYMENTS, VALIDATE_RUNS, post, review, run_review
from tests.hostile.target import Spent, Target

#: Far above what each attack costs now, together with the honest traffic meanwhile, and far below what it has cost.
CPU_SECONDS = 2.0
DEPLOYMENT = {"metadata": {"name": "web"}, "spec": {}}


async def test_a_long_timeout_is_not_parsed(target: Target) -> None:
    """A timeout of thousands of digits gives 400 at once."""
    spent = Spent(target.pid)
    responses = await attacks.long_timeout(target)
    assert statuses(responses) == {400: 2}
    assert spent.cpu_seconds < CPU_SECONDS / 2


async def test_a_compressed_body_is_not_expanded(target: Target) -> None:
    """A body of 5.8 MB that would become 5.6 GB gives 415."""
    spent = Spent(target.pid)
    assert set(statuses(await attacks.compressed_body(target))) <= {0, 415}
    assert spent.cpu_seconds < CPU_SECONDS


async def test_the_fingerprint_takes_linear_time(target: Target) -> None:
    """Parameters that are nested 900 deep are hashed as fast as others."""
    spent = Spent(target.pid)
    assert statuses(await attacks.deep_parameters(target)) == {200: 8}
    assert spent.cpu_seconds < CPU_SECONDS


async def test_what_is_nested_too_deep_gives_400(target: Target) -> None:
    """No depth gives a defect: what cannot be decoded gives 400."""
    responses = await attacks.too_deep(target)
    assert set(statuses(responses)) <= {200, 400}
    assert statuses(responses)[400] >= 2


async def test_a_body_cannot_grow_without_limit_when_it_is_decoded(target: Target) -> None:
    """A body whose parts take thirty times its size as objects gives 413, before anything is decoded."""
    spent = Spent(target.pid)
    assert statuses(await attacks.dense_bodies(target)) == {413: 2}
    assert spent.peak < LIMIT_BYTES * 3 // 4


async def test_large_creates_that_wait_do_not_fill_the_memory(target: Target) -> None:
    """45 creates of 6.9 MB that wait for each other hold a fraction of what they sent."""
    spent = Spent(target.pid)
    counted = statuses(await attacks.large_waiting_creates(target))
    assert set(counted) <= {200, 408, 429}
    assert counted[200] >= 1
    assert spent.peak < LIMIT_BYTES * 3 // 4


async def test_incomplete_bodies_do_not_fill_the_memory(target: Target) -> None:
    """1,000 connections with 131,000 bytes each are not accepted: small bodies count too."""
    spent = Spent(target.pid)
    await attacks.incomplete_bodies(target)
    assert spent.peak < LIMIT_BYTES * 3 // 4


async def test_a_long_header_is_not_kept(target: Target) -> None:
    """A connection that sends more than 16 KiB of a header is closed."""
    assert await attacks.long_headers(target, 100) == 0


async def test_a_client_that_does_not_wait_for_answers_is_closed(target: Target) -> None:
    """The API server never sends a second request before the first answer."""
    assert await attacks.pipelined_requests(target) < 100


async def test_names_that_no_api_server_sends_are_not_kept(target: Target) -> None:
    """A kind of six megabytes gives 4xx and becomes no label of a metric."""
    assert set(statuses(await attacks.large_kinds(target))) <= {400, 413, 429}
    assert len(target.replica.health("/metrics")[1]) < 200_000


async def test_waiting_creates_silence_no_other_webhook_or_namespace(target: Target) -> None:
    """While 540 creates wait, workloads and runs of another namespace are still answered, for the same caller."""
    caller = target.caller(API_SERVER)
    refused = target.replica.metric("rollonce_http_refused_total", status="429")
    waiting = asyncio.create_task(attacks.waiting_creates(caller, 540))
    try:
        async with asyncio.timeout(20):
            # All places that they can get are taken when the first of them is refused.
            while target.replica.metric("rollonce_http_refused_total", status="429") == refused:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not waiting.done()
        workloads = await caller.send_all([post(MUTATE_DEPLOYMENTS, review(DEPLOYMENT)) for _ in range(20)])
        runs = await caller.send_all(
            [post(VALIDATE_RUNS, run_review(f"other-{number}", namespace="other")) for number in range(20)]
        )
        assert not waiting.done()
        assert statuses(workloads) == {200: 20}
        assert statuses(runs) == {200: 20}
    finally:
        assert set(statuses(await waiting)) <= {200, 429}
