"""A mirror under test, with everything that it told."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from webhook.clients.kubernetes import KubernetesClient
from webhook.controller.core.pacing import Backoff
from webhook.controller.listing import Selection
from webhook.controller.metrics import WatchMetrics
from webhook.controller.objects import Described, Key, PartialObject
from webhook.controller.watch import Mirror

T = TypeVar("T", bound=Described)


@dataclass
class Watched(Generic[T]):
    """A mirror that runs.

    Attributes:
        mirror: The mirror.
        registry: Its metrics.
        told: Each difference: the name, what was, and what is.
    """

    mirror: Mirror[T]
    registry: CollectorRegistry
    task: asyncio.Task[None]
    told: list[tuple[str, T | None, T | None]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """The names of what is mirrored."""
        return {key.name for key in self.mirror}

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.registry.get_sample_value(name, labels) or 0.0


@contextlib.asynccontextmanager
async def watching(
    api: KubernetesClient,
    selection: Selection,
    kind: type[T],
    *,
    silence: float = 90.0,
    watch_seconds: float = 300.0,
    first_page: int = 25,
) -> AsyncIterator[Watched[T]]:
    """Run a mirror until the end of the block; hands it out when it has listed once."""
    async with following(
        api, selection, kind, silence=silence, watch_seconds=watch_seconds, first_page=first_page
    ) as watched:
        async with asyncio.timeout(30):
            await watched.mirror.synced.wait()
        yield watched


@contextlib.asynccontextmanager
async def following(
    api: KubernetesClient,
    selection: Selection,
    kind: type[T],
    *,
    silence: float = 90.0,
    watch_seconds: float = 300.0,
    first_page: int = 25,
) -> AsyncIterator[Watched[T]]:
    """The same, without waiting for the first list."""
    registry = CollectorRegistry()
    told: list[tuple[str, T | None, T | None]] = []

    def changed(key: Key, before: T | None, after: T | None) -> None:
        told.append((key.name, before, after))

    mirror = Mirror(
        api,
        selection,
        kind,
        changed=changed,
        clock=time.monotonic,
        chance=random.random,
        log=structlog.get_logger(),
        metrics=WatchMetrics(registry),
        silence=silence,
        watch_seconds=watch_seconds,
        first_page=first_page,
        backoff=Backoff(first=0.1, limit=1.0),
    )
    task = asyncio.create_task(mirror.run())
    try:
        yield Watched(mirror, registry, task, told)
        assert not task.done() or task.cancelled(), "the mirror ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def partial(path: str, *, name: str = "") -> Selection:
    """Select metadata only, of one object where a name is given."""
    return Selection(path, fields=f"metadata.name={name}" if name else "", metadata_only=True)


__all__ = ["PartialObject", "Watched", "following", "partial", "watching"]
