"""Informers for tests, with all differences that they reported."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from webhook.kube.api import WatchApi
from webhook.kube.informer import Informer
from webhook.kube.listing import Selection
from webhook.kube.metrics import WatchMetrics
from webhook.kube.objects import Described, Key, PartialObject
from webhook.kube.reflector import WatchContext
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock

T = TypeVar("T", bound=Described)


@dataclass
class Watched(Generic[T]):
    """An informer that runs.

    Attributes:
        informer: The informer.
        registry: Registry of its metrics.
        task: The task that runs it.
        reported: Each difference: the name, the object before and the object now.
    """

    informer: Informer[T]
    registry: CollectorRegistry
    task: asyncio.Task[None]
    reported: list[tuple[str, T | None, T | None]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """The names of the objects that the informer holds."""
        return {key.name for key in self.informer}

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric."""
        return self.registry.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def watching(
    api: WatchApi,
    selection: Selection,
    object_type: type[T],
    *,
    silence: float = 10.0,
    watch_seconds: float = 45.0,
    first_page: int = 25,
) -> AsyncIterator[Watched[T]]:
    """Run an informer until the end of the block; the block starts when the first list is complete."""
    async with following(
        api, selection, object_type, silence=silence, watch_seconds=watch_seconds, first_page=first_page
    ) as watched:
        async with asyncio.timeout(30):
            await watched.informer.synced.wait()
        yield watched


@contextlib.asynccontextmanager
async def following(
    api: WatchApi,
    selection: Selection,
    object_type: type[T],
    *,
    silence: float = 10.0,
    watch_seconds: float = 45.0,
    first_page: int = 25,
) -> AsyncIterator[Watched[T]]:
    """Run an informer until the end of the block, without waiting for the first list."""
    registry = CollectorRegistry()
    reported: list[tuple[str, T | None, T | None]] = []

    def changed(key: Key, before: T | None, after: T | None) -> None:
        reported.append((key.name, before, after))

    informer = Informer(
        WatchContext(
            api,
            Clock(),
            structlog.get_logger(),
            WatchMetrics(registry),
            silence=silence,
            watch_seconds=watch_seconds,
            first_page=first_page,
            backoff=Backoff(first=0.1, limit=1.0),
        ),
        selection,
        object_type,
        changed=changed,
    )
    task = asyncio.create_task(informer.run())
    try:
        yield Watched(informer, registry, task, reported)
        assert not task.done() or task.cancelled(), "the informer ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def partial(path: str, *, name: str = "") -> Selection:
    """Return a selection of metadata only, of one object if a name is given."""
    return Selection(path, fields=f"metadata.name={name}" if name else "", metadata_only=True)


__all__ = ["PartialObject", "Watched", "following", "partial", "watching"]
