"""Watches that end as a matter of routine, and collections that do not exist, on a real API server."""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.controlplane import ControlPlane
from tests.webhook.kube.informers import following, partial, watching
from tests.webhook.kube.test_informer import apply, configmap, configmaps
from tests.webhook.kube.waiting import eventually
from webhook.errors import KubernetesError
from webhook.kube.client import KubernetesClient
from webhook.kube.metrics import WatchMetrics
from webhook.kube.objects import ObjectMeta, PartialObject
from webhook.kube.reflector import Reflector, Sink, WatchContext
from webhook.runtime.backoff import Backoff
from webhook.runtime.clock import Clock

REASONS = ("gone", "refused", "broken", "sink")


async def test_an_idle_watch_is_silent(plane: ControlPlane, api: KubernetesClient, namespace: str) -> None:
    """The API server ends it and sends nothing before; that is logged and counted nowhere."""
    since = plane.audit.offset()
    path = configmaps(namespace)

    def watches() -> int:
        events = plane.audit.events(since=since, verb="watch")
        return len({event.audit_id for event in events if path in event.request_uri})

    with capture_logs() as logs:
        async with watching(api, partial(path), PartialObject, silence=1.0, watch_seconds=3.0) as watched:
            await eventually(lambda: watches() >= 3)
            failures = {
                reason: watched.metric("rollonce_watch_failures_total", resource="configmaps", reason=reason)
                for reason in REASONS
            }
            assert watched.metric("rollonce_watch_lists_total", resource="configmaps") == 1
            await apply(plane, namespace, configmap("later"))
            await eventually(lambda: "later" in watched.names)
    assert failures == dict.fromkeys(REASONS, 0)
    assert not logs


class Choosy(Sink):
    """Handles an object only after some attempts, because of another dependency.

    Attributes:
        refusals: How many attempts at the object `hard` fail.
        names: What was handled, in order.
    """

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.names: list[str] = []

    async def changed(self, raw: msgspec.Raw) -> ObjectMeta:
        """Handle an object, or fail."""
        meta = await super().changed(raw)
        if meta.name == "hard" and self.refusals:
            self.refusals -= 1
            raise KubernetesError("The status cannot be written.")
        self.names.append(meta.name)
        return meta


async def test_a_failure_to_handle_an_object_is_said(
    plane: ControlPlane, api: KubernetesClient, namespace: str
) -> None:
    """Also if the watch has worked until then: once when it begins, once when it is over, and nothing is lost."""
    registry, sink = CollectorRegistry(), Choosy(3)
    context = WatchContext(
        api, Clock(), structlog.get_logger(), WatchMetrics(registry), backoff=Backoff(first=0.05, limit=0.1)
    )
    with capture_logs() as logs:
        reading = asyncio.create_task(Reflector(context, partial(configmaps(namespace)), sink).run())
        try:
            behind = {"resource": "configmaps"}
            await eventually(lambda: registry.get_sample_value("rollonce_watch_behind", behind) == 0)
            await apply(plane, namespace, configmap("easy"))
            await eventually(lambda: "easy" in sink.names)
            await apply(plane, namespace, configmap("hard"))
            await eventually(lambda: "hard" in sink.names)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
    assert [(line["event"], line.get("problem")) for line in logs] == [
        ("object could not be handled, retrying", "The status cannot be written."),
        ("objects are handled again", None),
    ]
    failures = {"resource": "configmaps", "reason": "sink"}
    assert registry.get_sample_value("rollonce_watch_failures_total", failures) == 3


async def test_a_missing_definition_is_said_in_words(api: KubernetesClient) -> None:
    """A collection that the API server answers by 404 is one that it does not serve."""
    with capture_logs() as logs:
        async with following(api, partial("/apis/shop.example.com/v1/namespaces/a/things"), PartialObject) as watched:
            refused = {"resource": "things", "reason": "refused"}
            await eventually(lambda: watched.metric("rollonce_watch_failures_total", **refused))
            assert not watched.informer.synced.is_set()
    assert [line["problem"] for line in logs] == [
        "The CustomResourceDefinition things.shop.example.com is not installed, or does not serve the version v1."
    ]
