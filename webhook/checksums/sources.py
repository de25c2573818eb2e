"""Read Secrets and ConfigMaps and return their checksums; contents are used nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote

import msgspec

from webhook.checksums.core.digest import checksum
from webhook.checksums.core.inputs import Absent, Found, Reading, Unreadable
from webhook.checksums.core.keys import NamespacedSource, Source
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.settings import ChecksumSettings
from webhook.errors import KubernetesError
from webhook.kube.api import KubernetesApi, Reply
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

#: How long a read waits for one of the same object that is in progress: many times the duration of a read.
SHARED_WAIT_SECONDS: Final = 0.05
#: Reads in progress: fewer than the client has connections, so that some are left for other webhooks.
MOST_READS: Final = 40
#: Reads in progress for one review.
MOST_READS_PER_REVIEW: Final = 16


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class SourceObject(msgspec.Struct, frozen=True, rename="camel"):
    """The contents of a Secret or ConfigMap; of its metadata only the version."""

    data: dict[str, str | None] | None = None
    binary_data: dict[str, str | None] | None = None
    metadata: _Metadata = _Metadata()

    def __repr__(self) -> str:
        return "SourceObject(…)"


_decoder: Final = msgspec.json.Decoder(SourceObject)


@dataclass(frozen=True, slots=True)
class VersionedReading:
    """The result of one read.

    Attributes:
        reading: The checksum, or why there is none.
        version: The object's resourceVersion; empty if there is no object.
    """

    reading: Reading
    version: str = ""


class SharedReads(Generic[KeyT, ValueT]):
    """Coalesce reads; never return one that started before the call.

    A read that is in progress may have seen an older state than the caller. So callers that come while one is in
    progress wait for the next one, which they share. A burst of a hundred calls costs two reads, and each caller gets a
    value that was current after its call.

    Args:
        read: Reads one thing.
        max_wait: Seconds after which the next read starts even if the one before is still in progress.
    """

    def __init__(self, read: Callable[[KeyT], Awaitable[ValueT]], *, max_wait: float) -> None:
        self._read = read
        self._max_wait = max_wait
        self._started: dict[KeyT, asyncio.Task[ValueT]] = {}
        self._waiting: dict[KeyT, asyncio.Task[ValueT]] = {}

    async def get(self, key: KeyT) -> ValueT:
        """Return the result of a read that starts after this call.

        The read continues if the caller is cancelled, because other callers may wait for it.
        """
        task = self._waiting.get(key)
        if task is None:
            task = asyncio.create_task(self._next(key, self._started.get(key)))
            self._waiting[key] = task
        return await asyncio.shield(task)

    async def _next(self, key: KeyT, previous: asyncio.Task[ValueT] | None) -> ValueT:
        if previous is not None:
            await asyncio.wait((previous,), timeout=self._max_wait)
        task = self._waiting.pop(key)
        self._started[key] = task
        try:
            return await self._read(key)
        finally:
            # If this read took too long, a later one has replaced it here.
            if self._started.get(key) is task:
                del self._started[key]


class SourceReader:
    """Read sources from the API server.

    Args:
        settings: Returns the present settings.
        api: The API server. Needs get of the Secrets and ConfigMaps.
        clock: Monotonic time.
        metrics: Counters of reads.
    """

    def __init__(
        self, settings: Callable[[], ChecksumSettings], api: KubernetesApi, *, clock: Clock, metrics: ChecksumMetrics
    ) -> None:
        self._settings = settings
        self._api = api
        self._clock = clock
        self._metrics = metrics
        self._slots = asyncio.Semaphore(MOST_READS)
        self._shared: SharedReads[NamespacedSource, Reading] = SharedReads(
            self._fetch_in_slot, max_wait=SHARED_WAIT_SECONDS
        )

    async def read(self, namespace: str, sources: Iterable[Source], deadline: Deadline) -> dict[Source, Reading]:
        """Read sources concurrently.

        Args:
            namespace: Their namespace.
            sources: Which to read.
            deadline: A source that has not been read by then is unreadable.

        Returns:
            For each source the result of a read that started after this call.
        """
        sources = tuple(sources)
        slots = asyncio.Semaphore(MOST_READS_PER_REVIEW)
        readings = await asyncio.gather(*(self._within(deadline, (namespace, source), slots) for source in sources))
        return dict(zip(sources, readings, strict=True))

    async def fetch(self, where: NamespacedSource) -> VersionedReading:
        """Read one source, without sharing; a quorum read."""
        namespace, source = where
        settings, started = self._settings(), self._clock.monotonic()
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/{source.kind.plural}/{quote(source.name, safe='')}"
        try:
            found = parse_reply(await self._api.get(path, self._clock.deadline(settings.read_seconds)), settings.key)
        except KubernetesError:
            found = VersionedReading(Unreadable("no answer"))
        self._metrics.read_seconds.observe(self._clock.monotonic() - started)
        self._metrics.reads.labels(source.kind.value, type(found.reading).__name__.lower()).inc()
        return found

    async def _within(self, deadline: Deadline, where: NamespacedSource, slots: asyncio.Semaphore) -> Reading:
        try:
            async with asyncio.timeout(deadline.remaining()), slots:
                return await self._shared.get(where)
        except TimeoutError:
            return Unreadable("no answer in time")

    async def _fetch_in_slot(self, where: NamespacedSource) -> Reading:
        async with self._slots:
            return (await self.fetch(where)).reading


def parse_reply(reply: Reply, key: bytes | None) -> VersionedReading:
    """Return the reading of a reply to a GET.

    Args:
        reply: The reply.
        key: The key of keyed checksums, if they are used.
    """
    if reply.status == 404:
        return VersionedReading(Absent())
    if not reply.ok:
        return VersionedReading(Unreadable(f"HTTP {reply.status}"))
    try:
        found = _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The error's text could repeat contents.
        return VersionedReading(Unreadable("an answer that is no Secret or ConfigMap"))
    return VersionedReading(Found(checksum(found.data, found.binary_data, key=key)), found.metadata.resource_version)
