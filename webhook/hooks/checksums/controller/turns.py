"""Rolling a few at a time: of each namespace, those whose turn it is are written, and the others wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from webhook.controller.core.schedule import Settling
from webhook.controller.queue import WorkQueue
from webhook.hooks.checksums.controller.tools import Tools
from webhook.hooks.checksums.controller.view import View
from webhook.hooks.checksums.core.decide import Outcome
from webhook.hooks.checksums.core.plan import Observed, plan
from webhook.hooks.checksums.core.workload import WorkloadId

#: A rollout changes a workload's status several times in a row; places are given out once for all of that.
_SETTLING: Final = Settling(0.02, 0.1)
_NAMESPACES_AT_A_TIME: Final = 8
_NOTHING: Final = Outcome()


class Turns:
    """Gives places in waves.

    Args:
        view: What there is.
        look: Decides about a workload; None if there is nothing to decide now.
        write: Writes a decision.
        tools: Metrics, log and clock.
    """

    def __init__(
        self,
        view: View,
        look: Callable[[WorkloadId], Awaitable[Observed | None]],
        write: Callable[[Observed], Awaitable[None]],
        tools: Tools,
    ) -> None:
        self._view = view
        self._look = look
        self._write = write
        self._tools = tools
        self._waiting: dict[str, set[WorkloadId]] = {}
        self._limit: Callable[[], int] = lambda: 0
        watching = tools.watching
        self._queue: WorkQueue[str] = WorkQueue(
            "turns",
            clock=watching.clock,
            chance=watching.chance,
            log=watching.log,
            metrics=tools.queues,
            settling=_SETTLING,
        )

    async def run(self, limit: Callable[[], int]) -> None:
        """Give turns until cancelled.

        Args:
            limit: How many may roll at a time because of one object; 0 means no limit.
        """
        self._limit = limit
        await self._queue.run(self._give, workers=_NAMESPACES_AT_A_TIME)

    def want(self, one: WorkloadId) -> None:
        """Let a workload wait for its turn."""
        self._waiting.setdefault(one.namespace, set()).add(one)
        self._queue.add(one.namespace)

    def moved(self, namespace: str) -> None:
        """Note that something there is not as it was, so that a place may be free."""
        if self._waiting.get(namespace):
            self._queue.add(namespace)

    async def _give(self, namespace: str) -> float | None:
        waiting = self._waiting.pop(namespace, set())
        looks = await asyncio.gather(*map(self._look, sorted(waiting)))
        changing = {looked.id: looked for looked in looks if looked is not None and looked.outcome.operations}
        everyone = self._everyone(namespace, changing)
        planned = plan(everyone.values(), self._limit())
        written = await asyncio.gather(*map(self._write, planned.write), return_exceptions=True)
        failed = [one.id for one, result in zip(planned.write, written, strict=True) if result is not None]
        for one in (*planned.queued, *failed):
            self._waiting.setdefault(namespace, set()).add(one)
        self._tools.metrics.queued.labels(namespace).set(len(planned.queued))
        self._tools.metrics.stopped.labels(namespace).set(len(planned.stopped))
        self._tools.teller.stopped(namespace, planned, everyone)
        for result in written:
            if result is not None:
                raise result
        return None

    def _everyone(self, namespace: str, changing: dict[WorkloadId, Observed]) -> dict[WorkloadId, Observed]:
        """Those who change, and those who take up places or have failed."""
        found = dict(changing)
        for one in self._view.workloads():
            if one.namespace == namespace and one not in found:
                stored = self._view.workload(one)
                if stored is not None and stored.managed:
                    found[one] = stored.observe(one, _NOTHING)
        return found
