"""`rollonce render`: add checksums to manifests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Final

import click
import msgspec
from prometheus_client import CollectorRegistry

from webhook.checksums.core.inputs import Reading
from webhook.checksums.core.keys import NamespacedSource
from webhook.checksums.core.optin import OperatorPolicy
from webhook.checksums.core.render import Rendered, RenderedWorkload, Rendering
from webhook.checksums.core.workload import Workload
from webhook.checksums.metrics import ChecksumMetrics
from webhook.checksums.policy_file import policy_of
from webhook.checksums.settings import (
    KEY_FILE,
    KEY_SECRET,
    ChecksumSettings,
    checked_settings,
    offline_key,
)
from webhook.checksums.sources import SourceReader
from webhook.errors import ConfigurationError, KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.runtime import options
from webhook.runtime.clock import Clock
from webhook.runtime.command_line import settings_options
from webhook.runtime.settings import Settings

_SECONDS: Final = 30.0


@click.command()
@click.option(
    "-n",
    "default_namespace",  # `namespace` is the parameter of the setting for the namespace of this installation
    default="default",
    show_default=True,
    metavar="NAMESPACE",
    help="The namespace of manifests that name none.",
)
@click.option("--from-cluster", is_flag=True, help="Read what is not among the manifests from the cluster.")
@click.option(
    "--diff", "only_diff", is_flag=True, help="Show what would change instead: with --from-cluster, what would roll."
)
@settings_options((*options.KUBERNETES, options.NAMESPACE, KEY_FILE, KEY_SECRET))
def render(*, default_namespace: str, from_cluster: bool, only_diff: bool, settings: Settings) -> int:
    """Add checksums to the manifests on standard input; no other character changes.

    Complaints go to standard error, and the exit code is then 1; the manifests are written all the same. With --diff
    --from-cluster, other differences of a workload are not shown: use `kubectl diff` for those.
    """
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise ConfigurationError("The manifests on standard input are not UTF-8.") from None
    if from_cluster:
        rendered, output = asyncio.run(_online(text, default_namespace, settings, diff=only_diff))
    else:
        policy, key = _policy(settings, default_namespace), offline_key(settings)
        rendering = Rendering(text, namespace=default_namespace, policy=policy, key=key)
        rendered = rendering.render()
        output = rendering.diff(rendered) if only_diff else rendered.text
    # As bytes, so that line breaks and characters stay as they are on every system.
    click.echo(output.encode(), nl=False)
    for complaint in rendered.complaints:
        click.echo(f"rollonce: {complaint}", err=True)
    return 1 if rendered.complaints else 0


class ClusterReader:
    """Read from a cluster what is not among the manifests, and what is different there.

    Args:
        api: The API server.
        settings: The settings, with the key of keyed checksums.
        clock: Monotonic time.
    """

    def __init__(self, api: KubernetesApi, settings: ChecksumSettings, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        metrics = ChecksumMetrics(CollectorRegistry())
        self._reader = SourceReader(lambda: settings, api, clock=clock, metrics=metrics)

    async def read(self, sources: Iterable[NamespacedSource]) -> dict[NamespacedSource, Reading]:
        """Read Secrets and ConfigMaps concurrently."""
        sources, deadline = tuple(sources), self._clock.deadline(_SECONDS)
        found = await asyncio.gather(*(self._reader.read(where, (source,), deadline) for where, source in sources))
        return {(where, source): readings[source] for (where, source), readings in zip(sources, found, strict=True)}

    async def differences(self, rendered: Rendered) -> str:
        """Return for each workload which checksums differ from those in the cluster, one line each.

        Raises:
            KubernetesError: A workload cannot be read.
        """
        return "".join(await asyncio.gather(*map(self._difference, rendered.workloads)))

    async def _difference(self, rendered: RenderedWorkload) -> str:
        reply = await self._api.get(rendered.id.path, self._clock.deadline(_SECONDS))
        if reply.status == 404:
            return f"{rendered.id}: new\n"
        if not reply.ok:
            raise KubernetesError(f"{rendered.id} cannot be read: the API server answered {reply.status}.")
        stored = msgspec.json.decode(reply.body, type=rendered.id.kind.stored_type)
        keys = rendered.would_roll(Workload.of_stored(rendered.id.kind, stored).template_annotations)
        return f"{rendered.id}: rolls, by {', '.join(keys)}\n" if keys else f"{rendered.id}: does not roll\n"


def _policy(settings: Settings, default_namespace: str) -> OperatorPolicy:
    """Return the operator's list; one that names no namespaces is for that of rollonce, or for that of the manifests.

    The namespace of a pod in which this command runs is neither.
    """
    return policy_of(settings, default_namespace=settings[options.NAMESPACE] or default_namespace)


async def _online(text: str, namespace: str, settings: Settings, *, diff: bool) -> tuple[Rendered, str]:
    # Imported here, because it takes half a second, and is not needed without a cluster.
    from webhook.kube.client import KubernetesClient, load_configuration  # noqa: PLC0415

    configuration, clock = await load_configuration(settings[options.KUBECONFIG], settings[options.CONTEXT]), Clock()
    api = KubernetesClient(configuration, user_agent="rollonce-render")
    try:
        policy = _policy(settings, namespace)
        current = await checked_settings(settings, api, clock=clock, policy=policy)
        rendering = Rendering(text, namespace=namespace, policy=current.policy, key=current.key)
        cluster = ClusterReader(api, current, clock)
        rendered = rendering.render(await cluster.read(rendering.unresolved))
        return rendered, await cluster.differences(rendered) if diff else rendered.text
    finally:
        await api.close()
