"""End the process when its event loop stands still, and when it does not end by itself in time.

Both are noticed by a thread, because nothing in the event loop can. A process that cannot serve must not keep its
connections: the API server waits on each of them until the timeout of the webhook, and the client gets an error that it
does not try again.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from webhook.runtime.log import Logger, describe_frames

#: How long the event loop may stand still: about the timeout of a webhook, so that its calls have failed anyway.
SILENCE_SECONDS: Final = 5.0
#: How often the event loop shows that it runs, and how often the thread looks.
TICK_SECONDS: Final = 0.5
#: Time for the last line of the log: its reader may be what everything waits for.
_LAST_LINE_SECONDS: Final = 1.0
FAILURE_EXIT: Final = 1


def exit_process(code: int) -> None:
    """End the process at once, without any cleanup."""
    os._exit(code)


class Watchdog:
    """Watch the event loop in which it is entered; use it as an async context manager.

    Args:
        log: Receives why the process ends.
        silence: Seconds for which the event loop may stand still.
        tick: Seconds between two looks.
        end: Ends the process with an exit code.
    """

    def __init__(
        self,
        log: Logger,
        *,
        silence: float = SILENCE_SECONDS,
        tick: float = TICK_SECONDS,
        end: Callable[[int], None] = exit_process,
    ) -> None:
        self._log = log
        self._silence = silence
        self._tick = tick
        self._end = end
        self._beats = 0
        self._left: float | None = None
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start to watch the running event loop, until `stop`."""
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; the process may take as long as it likes to end."""
        self._stopped.set()

    def end_within(self, seconds: float) -> None:
        """End the process if it still runs after that many seconds; of several such times the earliest counts."""
        self._left = seconds if self._left is None else min(self._left, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _beat(self) -> None:
        self._beats += 1
        if self._loop:
            self._loop.call_later(self._tick, self._beat)

    def _watch(self) -> None:
        seen, silent, before = self._beats, 0.0, time.monotonic()
        while not self._stopped.wait(self._tick):
            now = time.monotonic()
            # If this thread was late, the whole process or machine stood still, and the event loop is not to blame.
            passed, before = min(now - before, 2 * self._tick), now
            silent = 0.0 if self._beats != seen else silent + passed
            seen = self._beats
            if silent >= self._silence:
                self._die("event loop stands still, ending", seconds=round(silent, 1), origin=self._stack())
            if self._left is not None:
                self._left -= passed
                if self._left <= 0:
                    self._die("program does not end in time, ending at once", tasks=self._tasks(), origin=self._stack())

    def _die(self, event: str, **fields: object) -> None:
        """Log why, if the log can be written to, and end the process."""
        last = threading.Thread(target=lambda: self._log.error(event, **fields), name="last line", daemon=True)
        last.start()
        last.join(_LAST_LINE_SECONDS)
        self._end(FAILURE_EXIT)
        self._stopped.set()

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the only way to see what a thread does
        return describe_frames(traceback.extract_stack(frame)) if frame else ""

    def _tasks(self) -> list[str]:
        try:
            return sorted(task.get_name() for task in asyncio.all_tasks(self._loop))
        except RuntimeError:  # The set changed meanwhile, or the loop has ended.
            return []
