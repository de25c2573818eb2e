"""Reading Secrets and ConfigMaps live: current contents in, checksums out. Contents go no further than this module."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
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


class SourceObject(msgspec.Struct, frozen=True, rename="camel"):
    """The contents of a Secret or ConfigMap, and nothing of its metadata."""

    data: dict[str, str | None] | None = None
    binary_data: dict[str, str | None] | None = None

    def __repr__(self) -> str:
        return "SourceObject(…)"


_decoder: Final = msgspec.json.Decoder(SourceObject)


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
        readings = await asyncio.gather(*(self._within(deadline, namespace, source) for source in wanted))
        return dict(zip(wanted, readings, strict=True))

    async def _within(self, deadline: Deadline, namespace: str, source: Source) -> Reading:
        try:
            async with asyncio.timeout(deadline.remaining()):
                return await self._shared.get((namespace, source))
        except TimeoutError:
            return Unreadable("no answer in time")

    async def _fetch(self, where: tuple[str, Source]) -> Reading:
        namespace, source = where
        settings = self._settings()
        started = self._clock()
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/{source.kind.plural}/{quote(source.name, safe='')}"
        try:
            reply = await self._api.get(path, Deadline.after(settings.read_seconds, self._clock))
            reading = understand(reply, settings.key)
        except KubernetesError:
            reading = Unreadable("no answer")
        self._metrics.read_seconds.observe(self._clock() - started)
        self._metrics.reads.labels(source.kind.value, type(reading).__name__.lower()).inc()
        return reading


def understand(reply: Reply, key: bytes | None) -> Reading:
    """Make a reading of the API server's answer to a GET.

    Args:
        reply: The answer.
        key: Of keyed checksums, if they are used.
    """
    if reply.status == 404:
        return Absent()
    if not reply.ok:
        return Unreadable(f"HTTP {reply.status}")
    try:
        contents = _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The error's text could repeat contents.
        return Unreadable("an answer that is no Secret or ConfigMap")
    return Found(checksum(contents.data, contents.binary_data, key=key))
