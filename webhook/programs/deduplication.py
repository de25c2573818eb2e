"""From settings to deduplication: what the server and the controller have in common, and the controller's part."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta
from typing import Final

from webhook import options
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.clients.redis import RedisClient
from webhook.config import Values
from webhook.controller.parts import Part
from webhook.errors import ConfigurationError
from webhook.hooks.dedupe import DedupeMetrics, DedupeSettings, Store
from webhook.hooks.dedupe.confirm import Confirmer
from webhook.hooks.dedupe.runs import Runs
from webhook.hooks.dedupe.sightings import Sightings
from webhook.programs.process import Process

#: Lists come on top of the watches.
_SPARE_CONNECTIONS: Final = 4


def dedupe_settings(values: Values) -> DedupeSettings:
    """Collect what the operator has chosen.

    Raises:
        ConfigurationError: Settings contradict each other.
    """
    lease = timedelta(seconds=values[options.RESERVATION_LEASE])
    if lease >= values[options.RETENTION]:
        raise ConfigurationError(
            f"{values.source(options.RESERVATION_LEASE)}: the lease has to be shorter than the retention."
        )
    return DedupeSettings(
        retention=values[options.RETENTION],
        on_redis_down=values[options.ON_REDIS_DOWN],
        strict=values[options.STRICT],
        lease=lease,
        namespaces=values[options.DEDUPE_NAMESPACES],
    )


async def confirmations(process: Process) -> Part:
    """Put the part of the controller together that confirms runs.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    values = process.values
    settings = dedupe_settings(values)
    client = RedisClient(values[options.REDIS_URL])
    process.stack.push_async_callback(client.close)
    # Watches keep their connections, and so have a pool of their own.
    watching = KubernetesClient(
        await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT]),
        user_agent="rollonce-controller",
        connections=max(1, len(settings.namespaces)) + _SPARE_CONNECTIONS,
    )
    process.stack.push_async_callback(watching.close)
    store = Store(client)
    return Sightings(
        watching,
        Runs(watching, settings.resource),
        Confirmer(store, settings, time.time, DedupeMetrics(process.registry)),
        settings,
        monotonic=time.monotonic,
        chance=random.random,
        sleep=asyncio.sleep,
        log=process.log,
    )
