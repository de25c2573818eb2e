"""Whether rollonce may read the runs of a namespace; asked once in a while."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from webhook.dedupe.runs import ForbiddenError, Runs
from webhook.errors import DeadlineExceededError, KubernetesError
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

_GRANTED_SECONDS: Final = 600.0
_MISSING_SECONDS: Final = 10.0
#: An allowed create must not wait long for what is only a warning.
_CALL_SECONDS: Final = 0.5
_MOST_NAMESPACES: Final = 10_000


class Rights:
    """Remember in which namespaces runs can be read.

    Args:
        runs: Reads runs.
        clock: Monotonic time.
    """

    def __init__(self, runs: Runs, clock: Clock) -> None:
        self._runs = runs
        self._clock = clock
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    async def may_read(self, namespace: str, name: str, deadline: Deadline) -> bool:
        """Return whether runs of a namespace can be read; true if it is unknown.

        Args:
            namespace: The namespace.
            name: A run to try it with, whether or not it exists.
            deadline: When to give up.
        """
        known, until = self._known.get(namespace, (True, 0.0))
        if self._clock.monotonic() < until:
            return known
        try:
            await self._runs.uid(namespace, name, deadline.within(_CALL_SECONDS))
        except ForbiddenError:
            granted = False
        except (KubernetesError, DeadlineExceededError):
            return known
        else:
            granted = True
        self._known[namespace] = granted, self._clock.monotonic() + (_GRANTED_SECONDS if granted else _MISSING_SECONDS)
        if len(self._known) > _MOST_NAMESPACES:
            self._known.popitem(last=False)
        return granted
