"""Being told to stop."""

from __future__ import annotations

import asyncio
import signal

from webhook.log import Logger


def stop_on_signal(log: Logger) -> asyncio.Event:
    """Hear SIGTERM and SIGINT.

    Returns:
        Set by the first of them. The second ends the process at once, as it would end any other program.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hear(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("Told a second time to stop: stopping now.")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hear, number)
    return stop
