"""A program that is given to the parts of this feature."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import structlog
from kubernetes.aio.client import Configuration
from prometheus_client import CollectorRegistry

from webhook.feature import Process
from webhook.kube.client import KubernetesClient, load_configuration
from webhook.kube.metrics import WatchMetrics
from webhook.kube.reflector import WatchContext
from webhook.runtime import options
from webhook.runtime.background import Background
from webhook.runtime.clock import Clock
from webhook.runtime.readiness import Readiness
from webhook.runtime.settings import SettingsCatalogue
from webhook.tls import settings as tls_settings

#: Starts a program with the settings of these flags.
StartProcess = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start_process() -> AsyncIterator[StartProcess]:
    """Return a function that starts a program; it reaches an API server only if `kubeconfig` is given."""
    async with AsyncExitStack() as stack:

        async def start(**flags: str) -> Process:
            catalogue = SettingsCatalogue((*options.SERVER, *tls_settings.SERVER))
            settings = catalogue.resolve(flags, config=None, environ={})
            kubeconfig = settings[options.KUBECONFIG]
            configuration = await load_configuration(kubeconfig) if kubeconfig else Configuration()
            api = KubernetesClient(configuration, user_agent="rollonce-test")
            stack.push_async_callback(api.close)
            clock, log, registry = Clock(), structlog.get_logger(), CollectorRegistry()
            watch_metrics = WatchMetrics(registry)
            return Process(
                settings=settings,
                clock=clock,
                log=log,
                registry=registry,
                readiness=Readiness(),
                stop=asyncio.Event(),
                api=api,
                watch_context=lambda _: WatchContext(api, clock, log, watch_metrics),
                background=await stack.enter_async_context(Background(log, clock)),
                stack=stack,
            )

        yield start
