"""Mirrors of what is no API server, such as a proxy's error page: no crash, no storm, and no data in the log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.webhook.controller.conftest import Connect
from tests.webhook.controller.mirrors import following, partial
from tests.webhook.controller.waiting import eventually
from tests.webhook.hooks.checksums.conftest import kubeconfig_of
from webhook.controller.objects import PartialObject

LIST = '{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a","resourceVersion":"1"}}]}'
EVENT = '{"type":"ADDED","object":{"metadata":{"name":"b","resourceVersion":"2"}}}\n'


@contextlib.asynccontextmanager
async def serving(lists: list[str], watches: list[tuple[int, str]]) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve these answers one after the other, the last one for ever; hands out the port and what was asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        watch = "watch" in request.query
        asked.append("watch" if watch else "list")
        if not watch:
            return web.Response(text=lists.pop(0) if len(lists) > 1 else lists[0])
        status, text = watches.pop(0) if len(watches) > 1 else watches[0]
        return web.Response(status=status, text=text, headers={"Retry-After": "1"} if status == 429 else {})

    application = web.Application()
    application.router.add_get("/api/v1/secrets", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1], asked
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "garbage",
    ["hunter2\n", '{"type":"ADDED","object":{"data":"hunter2"}}\n', '{"type":"ADDED"}\n', "\xff\n" + "[" * 2000 + "\n"],
)
async def test_a_stream_of_garbage_is_left_and_listed_anew(garbage: str, connect: Connect, tmp_path: Path) -> None:
    """What came before it counts; what comes after the new list, too; and its text is nowhere."""
    lists = [LIST, LIST.replace('"a"', '"c"')]
    async with serving(lists, [(200, EVENT + garbage), (200, EVENT)]) as (port, _):
        with capture_logs() as logs:
            api = await connect(kubeconfig_of(port, tmp_path))
            async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
                await eventually(lambda: watched.names == {"b", "c"})
        assert "b" in {name for name, _, _ in watched.told}
        assert "hunter2" not in str(logs)
        assert watched.metric("rollonce_watch_failures_total", resource="secrets", reason="gone") == 1


@pytest.mark.parametrize("garbage", ["<html>hunter2</html>", '{"metadata":{},"items":[{"data":"hunter2"}]}', "[]"])
async def test_a_list_of_garbage_is_asked_for_again(garbage: str, connect: Connect, tmp_path: Path) -> None:
    """It is told without its text, and counts for nothing."""
    async with serving([garbage, LIST], [(200, EVENT)]) as (port, asked):
        with capture_logs() as logs:
            api = await connect(kubeconfig_of(port, tmp_path))
            async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
                await eventually(lambda: watched.names == {"a", "b"})
        assert asked[:3] == ["list", "list", "watch"]
        assert logs[0]["event"] == "The watch does not work and is tried again."
        assert "hunter2" not in str(logs)


async def test_watches_that_end_at_once_are_no_storm(connect: Connect, tmp_path: Path) -> None:
    """One that brings nothing is followed by a wait that grows, not by the next at once."""
    async with serving([LIST], [(200, "")]) as (port, asked):
        api = await connect(kubeconfig_of(port, tmp_path))
        async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
            await eventually(lambda: len(asked) == 6)
            before = watched.metric("rollonce_watch_lists_total", resource="secrets")
        # Waits of at least 0.05, 0.1, 0.2 and 0.4 s lie between five watches.
        assert (before, asked) == (1, ["list"] + ["watch"] * 5)


async def test_the_wait_that_is_asked_for_is_kept(connect: Connect, tmp_path: Path) -> None:
    """After 429 with Retry-After, no sooner than that; then as if nothing had been."""
    async with serving([LIST], [(429, ""), (200, EVENT)]) as (port, asked):
        with capture_logs() as logs:
            api = await connect(kubeconfig_of(port, tmp_path))
            async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
                await eventually(lambda: watched.names == {"a", "b"})
        assert asked[:3] == ["list", "watch", "watch"]
        assert [line["event"] for line in logs] == [
            "The watch does not work and is tried again.",
            "The watch works again.",
        ]
