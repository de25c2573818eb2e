"""What `rollonce render` asks a cluster: what is not among the manifests, and what runs there now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import msgspec
from prometheus_client import CollectorRegistry

from webhook.admission.deadline import Deadline
from webhook.clients.api import KubernetesApi
from webhook.errors import RollonceError
from webhook.hooks.checksums.controller.stored import MirroredWorkload, path_of
from webhook.hooks.checksums.core.facts import Reading
from webhook.hooks.checksums.core.render import Place, Rendered, RenderedWorkload
from webhook.hooks.checksums.metrics import ChecksumMetrics
from webhook.hooks.checksums.settings import ChecksumSettings
from webhook.hooks.checksums.sources import SourceReader

_decoder = msgspec.json.Decoder(MirroredWorkload)


class Cluster:
    """A cluster that is only read.

    Args:
        api: Its API server.
        settings: With the key of keyed checksums.
    """

    def __init__(self, api: KubernetesApi, settings: ChecksumSettings) -> None:
        self._api = api
        metrics = ChecksumMetrics(CollectorRegistry())
        self._reader = SourceReader(lambda: settings, api, clock=time.monotonic, metrics=metrics)

    async def read(self, places: Iterable[Place], *, seconds: float) -> dict[Place, Reading]:
        """Read Secrets and ConfigMaps side by side."""
        wanted, deadline = tuple(places), Deadline.after(seconds, time.monotonic)
        found = await asyncio.gather(*(self._reader.read(where, (one,), deadline) for where, one in wanted))
        return {(where, one): readings[one] for (where, one), readings in zip(wanted, found, strict=True)}

    async def would_roll(self, rendered: Rendered, *, seconds: float) -> str:
        """Say of each workload which checksums differ from those in the cluster, a line each.

        Raises:
            RollonceError: The cluster did not tell.
        """
        deadline = Deadline.after(seconds, time.monotonic)
        lines = await asyncio.gather(*(self._line(one, deadline) for one in rendered.workloads))
        return "".join(lines)

    async def _line(self, one: RenderedWorkload, deadline: Deadline) -> str:
        reply = await self._api.get(path_of(one.id), deadline)
        if reply.status == 404:
            return f"{one.id}: new\n"
        if not reply.ok:
            raise RollonceError(f"{one.id} cannot be read: the API server answered {reply.status}.")
        live = _decoder.decode(reply.body).look(one.id.kind)
        keys = one.would_roll(live.template_annotations)
        return f"{one.id}: rolls, by {', '.join(keys)}\n" if keys else f"{one.id}: does not roll\n"
