"""Wake a loop when an object on the API server changes.

The loop reads the object by itself, so nothing is lost if an event is. Without the right to watch, the loop notices
changes at its next regular pass.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from webhook.kube.listing import Selection
from webhook.kube.objects import ObjectMeta
from webhook.kube.reflector import Reflector, Sink, WatchContext


class _Trigger(Sink):
    """Call a function at each event, and when a watch starts, because an event may have been missed before it.

    Args:
        wake: The function.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    async def opened(self) -> None:
        """Wake the loop."""
        self._wake()

    async def changed(self, raw: msgspec.Raw) -> ObjectMeta:
        """Wake the loop."""
        self._wake()
        return await super().changed(raw)

    async def deleted(self, raw: msgspec.Raw) -> ObjectMeta:
        """Wake the loop."""
        self._wake()
        return await super().deleted(raw)


def watch_trigger(context: WatchContext, collection: str, name: str, wake: Callable[[], None]) -> Reflector:
    """Return a watch that calls a function at each change of an object, and when a change may have been missed.

    Needs the right `watch` on the object; it need not exist.

    Args:
        context: The watch occupies one connection of its client.
        collection: The path of the object's collection.
        name: The object's name.
        wake: The function.
    """
    selection = Selection(collection, fields=f"metadata.name={name}", metadata_only=True)
    return Reflector(context, selection, _Trigger(wake), list_first=False)
