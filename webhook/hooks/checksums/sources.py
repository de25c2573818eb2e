"""Reading Secrets and ConfigMaps live: current contents in, checksums out. Contents go no further than this module."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from webhook.admission.deadline import Deadline
from webhook.clients.api import KubernetesApi, Reply
from webhook.errors import KubernetesError
from webhook.hooks.checksums.core.digest import checksum
from webhook.hooks.checksums.core.facts import Absent, Found, Reading, Unreadable
from webhook.hooks.checksums.core.keys import Source
from webhook.hooks.checksums.metrics import ChecksumMetrics
from webhook.hooks.checksums.settings import ChecksumSettings
from webhook.hooks.checksums.shared import SharedReads

#: How long a read waits for one of the same object that is under way: many times what a read takes.
PATIENCE_SECONDS: Final = 0.05
#: Reads under way at a time: fewer than the client has connections, so that some are left for the other webhooks.
MOST_READS: Final = 40
#: Reads for one review under way at a time. What has not begun by its deadline never does.
MOST_READS_OF_ONE: Final = 16


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class SourceObject(msgspec.Struct, frozen=True, rename="camel"):
    """The contents of a Secret or ConfigMap, and of its metadata only which version it is."""

    data: dict[str, str | None] | None = None
    binary_data: dict[str, str | None] | None = None
    metadata: _Metadata = _Metadata()

    def __repr__(self) -> str:
        return "SourceObject(…)"


_decoder: Final = msgspec.json.Decoder(SourceObject)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a read found.

    Attributes:
        reading: The checksum, or why there is none.
        version: The object's resourceVersion; empty if there is no object.
    """

    reading: Reading
    version: str = ""


class SourceReader:
    """Reads sources from the API server.

    Args:
        settings: Asked for at each read, since they can change.
        api: The API server, as the webhook's ServiceAccount: get of the Secrets and ConfigMaps in question.
        clock: A monotonic clock, in seconds.
        metrics: Counts the reads.
    """

    def __init__(
        self,
        settings: Callable[[], ChecksumSettings],
        api: KubernetesApi,
        *,
        clock: Callable[[], float],
        metrics: ChecksumMetrics,
    ) -> None:
        self._settings = settings
        self._api = api
        self._clock = clock
        self._metrics = metrics
        self._seats = asyncio.Semaphore(MOST_READS)
        self._shared: SharedReads[tuple[str, Source], Reading] = SharedReads(self._fetch, patience=PATIENCE_SECONDS)

    async def read(self, namespace: str, sources: Iterable[Source], deadline: Deadline) -> dict[Source, Reading]:
        """Read sources side by side.

        Args:
            namespace: Where they are.
            sources: Which.
            deadline: What has not been read by then is unreadable.

        Returns:
            For each source, what a read found that began after this call.
        """
        wanted = tuple(sources)
        seats = asyncio.Semaphore(MOST_READS_OF_ONE)
        readings = await asyncio.gather(*(self._within(deadline, namespace, source, seats) for source in wanted))
        return dict(zip(wanted, readings, strict=True))

    async def _within(self, deadline: Deadline, namespace: str, source: Source, seats: asyncio.Semaphore) -> Reading:
        try:
            async with asyncio.timeout(deadline.remaining()), seats:
                return await self._shared.get((namespace, source))
        except TimeoutError:
            return Unreadable("no answer in time")

    async def _fetch(self, where: tuple[str, Source]) -> Reading:
        async with self._seats:
            seen = await fetch(*where, self._settings(), self._api, clock=self._clock, metrics=self._metrics)
        return seen.reading


async def fetch(
    namespace: str,
    source: Source,
    settings: ChecksumSettings,
    api: KubernetesApi,
    *,
    clock: Callable[[], float],
    metrics: ChecksumMetrics,
) -> Seen:
    """Read one source from the API server; a quorum read.

    Args:
        namespace: Where it is.
        source: Which.
        settings: With the key of keyed checksums, and how long it may take.
        api: The API server.
        clock: A monotonic clock, in seconds.
        metrics: Counts the read.
    """
    started = clock()
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/{source.kind.plural}/{quote(source.name, safe='')}"
    try:
        seen = understand(await api.get(path, Deadline.after(settings.read_seconds, clock)), settings.key)
    except KubernetesError:
        seen = Seen(Unreadable("no answer"))
    metrics.read_seconds.observe(clock() - started)
    metrics.reads.labels(source.kind.value, type(seen.reading).__name__.lower()).inc()
    return seen


def understand(reply: Reply, key: bytes | None) -> Seen:
    """Make a reading of the API server's answer to a GET.

    Args:
        reply: The answer.
        key: Of keyed checksums, if they are used.
    """
    if reply.status == 404:
        return Seen(Absent())
    if not reply.ok:
        return Seen(Unreadable(f"HTTP {reply.status}"))
    try:
        found = _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The error's text could repeat contents.
        return Seen(Unreadable("an answer that is no Secret or ConfigMap"))
    return Seen(Found(checksum(found.data, found.binary_data, key=key)), found.metadata.resource_version)
