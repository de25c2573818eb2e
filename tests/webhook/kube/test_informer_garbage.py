"""Informers over a server that is not an API server, such as a proxy with an error page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.controlplane.kubeconfig import plain_kubeconfig
from tests.webhook.kube.conftest import Connect
from tests.webhook.kube.informers import following, partial
from tests.webhook.kube.waiting import eventually
from webhook.kube.objects import PartialObject

LIST = '{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a","resourceVersion":"1"}}]}'
EVENT = '{"type":"ADDED","object":{"metadata":{"name":"b","resourceVersion":"2"}}}\n'


@contextlib.asynccontextmanager
async def serving(lists: list[str], watches: list[tuple[int, str]]) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve these answers in turn, the last one repeatedly; yield the port and the verbs of the requests."""
    requests: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        watch = "watch" in request.query
        requests.append("watch" if watch else "list")
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
        yield runner.addresses[0][1], requests
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "garbage",
    ["hunter2\n", '{"type":"ADDED","object":{"data":"hunter2"}}\n', '{"type":"ADDED"}\n', "\xff\n" + "[" * 2000 + "\n"],
)
async def test_an_invalid_stream_is_followed_by_a_new_list(garbage: str, connect: Connect, tmp_path: Path) -> None:
    """Events before the invalid data and objects of the new list count, and no data is logged."""
    lists = [LIST, LIST.replace('"a"', '"c"')]
    async with serving(lists, [(200, EVENT + garbage), (200, EVENT)]) as (port, _):
        with capture_logs() as logs:
            api = await connect(plain_kubeconfig(port, tmp_path))
            async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
                await eventually(lambda: watched.names == {"b", "c"})
        assert "b" in {name for name, _, _ in watched.reported}
        assert "hunter2" not in str(logs)
        assert watched.metric("rollonce_watch_failures_total", resource="secrets", reason="gone") == 1


@pytest.mark.parametrize("garbage", ["<html>hunter2</html>", '{"metadata":{},"items":[{"data":"hunter2"}]}', "[]"])
async def test_an_invalid_list_is_repeated(garbage: str, connect: Connect, tmp_path: Path) -> None:
    """An invalid list is logged without its data and repeated, and no object of it counts."""
    async with serving([garbage, LIST], [(200, EVENT)]) as (port, requests):
        with capture_logs() as logs:
            api = await connect(plain_kubeconfig(port, tmp_path))
            async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
                await eventually(lambda: watched.names == {"a", "b"})
        assert requests[:3] == ["list", "list", "watch"]
        assert logs[0]["event"] == "watch failed, retrying"
        assert "hunter2" not in str(logs)


async def test_watches_that_end_at_once_are_delayed(connect: Connect, tmp_path: Path) -> None:
    """After each watch without an event the informer waits longer before the next one."""
    async with serving([LIST], [(200, "")]) as (port, requests):
        api = await connect(plain_kubeconfig(port, tmp_path))
        async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
            await eventually(lambda: len(requests) == 6)
            before = watched.metric("rollonce_watch_lists_total", resource="secrets")
        # Waits of at least 0.05, 0.1, 0.2 and 0.4 s lie between five watches.
        assert (before, requests) == (1, ["list"] + ["watch"] * 5)


async def test_retry_after_is_respected(connect: Connect, tmp_path: Path) -> None:
    """After 429 with Retry-After the informer waits at least that long, and then continues."""
    async with serving([LIST], [(429, ""), (200, EVENT)]) as (port, requests):
        with capture_logs() as logs:
            api = await connect(plain_kubeconfig(port, tmp_path))
            async with following(api, partial("/api/v1/secrets"), PartialObject) as watched:
                await eventually(lambda: watched.names == {"a", "b"})
        assert requests[:3] == ["list", "watch", "watch"]
        assert [line["event"] for line in logs] == [
            "watch failed, retrying",
            "watch works again",
        ]
