"""Wakes a loop when something changes on the API server: a watch whose events are not even read.

Whoever is woken looks for himself, so nothing is lost if an event is, or if there is no right to watch: then the loop
finds out at its next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from webhook.certificates.teller import Teller
from webhook.clients.api import METADATA_ONLY
from webhook.clients.kubernetes import KubernetesClient
from webhook.errors import KubernetesError
from webhook.log import Logger

#: The server ends a watch after so long; without a byte for longer than this, the connection is dead.
WATCH_SECONDS: Final = 300
SILENCE_SECONDS: Final = 330.0
FIRST_BACKOFF_SECONDS: Final = 0.2
LAST_BACKOFF_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Watched:
    """One object.

    Attributes:
        collection: The path of its collection.
        name: Its name.
    """

    collection: str
    name: str


async def wake_on_change(client: KubernetesClient, watched: Watched, wake: Callable[[], None], *, log: Logger) -> None:
    """Call `wake` at each change of an object, and each time that one may have been missed, until cancelled.

    Needs `watch` on the object; without it, it says so once and goes on trying now and then.

    Args:
        client: A pool that is not used up by this: one connection is held all the time.
        watched: The object; it need not exist.
        wake: Called without an argument.
        log: Told of a watch that is refused.
    """
    teller = Teller(log.bind(watched=f"{watched.collection}/{watched.name}"))
    query = {
        "watch": "true",
        "fieldSelector": f"metadata.name={watched.name}",
        "timeoutSeconds": str(WATCH_SECONDS),
    }
    backoff = FIRST_BACKOFF_SECONDS
    while True:
        try:
            async with client.stream(
                watched.collection, query=query, accept=METADATA_ONLY, silence=SILENCE_SECONDS
            ) as response:
                if response.status == 200:
                    # From here on nothing is missed.
                    wake()
                    teller.fine("Changes are noticed at once again.")
                    backoff = FIRST_BACKOFF_SECONDS
                    async for _ in response.content:
                        wake()
                else:
                    teller.problem("Changes are noticed late: the watch was refused.", f"status {response.status}")
        except KubernetesError as error:
            teller.problem("Changes are noticed late: there is no watch.", str(error))
        await asyncio.sleep(backoff)
        backoff = min(LAST_BACKOFF_SECONDS, backoff * 2)
