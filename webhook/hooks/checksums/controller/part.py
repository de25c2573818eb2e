"""The part of the controller that rolls workloads: each term begins with nothing but what the cluster says."""

from __future__ import annotations

import asyncio

from webhook.controller.election import Term
from webhook.hooks.checksums.controller.roller import Roller
from webhook.hooks.checksums.controller.scope import Scope
from webhook.hooks.checksums.controller.tools import Tools
from webhook.hooks.checksums.core.pace import Pace
from webhook.hooks.checksums.settings import LiveSettings


class Rolling:
    """A `webhook.controller.parts.LeaderPart`.

    Args:
        settings: What the operator has chosen, with the list as the file has it now.
        scope: What is watched.
        pace: When to write.
        tools: What it works with.
    """

    name = "checksums"

    def __init__(self, settings: LiveSettings, scope: Scope, pace: Pace, tools: Tools) -> None:
        self._settings = settings
        self._scope = scope
        self._pace = pace
        self._tools = tools

    async def lead(self, term: Term) -> None:
        """Roll until cancelled."""
        roller = Roller(self._settings.current, self._scope, self._pace, self._tools, term)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settings.follow(roller.look_at_all))
            group.create_task(roller.run())
