"""rollonce with a feature that misbehaves: `python -m tests.webhook.odd_programs KIND serve …`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from webhook.cli import main
from webhook.feature import Feature, Process
from webhook.features import FEATURES

if TYPE_CHECKING:
    from webhook.kube.runnable import LeaderRunnable


async def _defect() -> None:
    raise RuntimeError("hush-hush")


async def _stubborn() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def _standstill() -> None:
    time.sleep(3600)  # noqa: ASYNC251 - it blocks the event loop, on purpose


_KINDS: Final = {"defect": _defect, "stubborn": _stubborn, "standstill": _standstill}


def odd(kind: str) -> Feature[Any]:
    """Return a feature whose task misbehaves as soon as the program is set up."""

    async def start(process: Process) -> Sequence[LeaderRunnable]:
        process.background.start(kind, _KINDS[kind])
        return ()

    return Feature(name="odd", start_server=start, start_controller=start)


if __name__ == "__main__":
    main(sys.argv[2:], (*FEATURES, odd(sys.argv[1])))
