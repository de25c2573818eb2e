"""`rollonce render`: manifests in, the same manifests with checksums out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from webhook import log, options
from webhook.commands.common import settings_options
from webhook.config import Values
from webhook.errors import ConfigurationError
from webhook.hooks.checksums import options as declared
from webhook.hooks.checksums.core.facts import Reading
from webhook.hooks.checksums.core.optin import OperatorPolicy
from webhook.hooks.checksums.core.render import Place, Rendered, Rendering

_SECONDS: Final = 30.0


@click.command()
@click.option("-n", "namespace", default="default", show_default=True, help="Of manifests that name none.")
@click.option("--from-cluster", is_flag=True, help="Read what is not among the manifests from the cluster.")
@click.option(
    "--diff", "only_diff", is_flag=True, help="Show what would change instead: with --from-cluster, what would roll."
)
@settings_options((*options.KUBERNETES, options.NAMESPACE, declared.KEY_FILE, declared.KEY_SECRET))
def render(
    *,
    namespace: str,
    from_cluster: bool,
    only_diff: bool,
    config: Path | None,
    **flags: str | None,
) -> int:
    """Put checksums into the manifests on standard input; every other character stays.

    What is wrong is told on standard error, and the exit code is then 1; the manifests come out all the same. With
    --diff --from-cluster, workloads that differ in other ways are not told of: `kubectl diff` shows those.
    """
    values = options.resolve(flags, config=config)
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise ConfigurationError("The manifests on standard input are not UTF-8.") from None
    result = asyncio.run(_online(text, namespace, values, diff=only_diff)) if from_cluster else None
    if result is None:
        rendering = Rendering(text, namespace=namespace, policy=_policy(values), key=_key(values))
        rendered = rendering.render()
        result = rendered, rendering.diff(rendered) if only_diff else rendered.text
    rendered, output = result
    click.echo(output, nl=False)
    for complaint in rendered.complaints:
        click.echo(f"rollonce: {complaint}", err=True)
    return 1 if rendered.complaints else 0


async def _online(text: str, namespace: str, values: Values, *, diff: bool) -> tuple[Rendered, str]:
    # Imported here, since rendering without a cluster does not need what takes longest to import.
    from webhook.clients.kubernetes import KubernetesClient, load_configuration  # noqa: PLC0415
    from webhook.programs.checksums import live_settings  # noqa: PLC0415

    configuration = await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT])
    api = KubernetesClient(configuration, user_agent="rollonce-render")
    try:
        settings = (await live_settings(values, api, log.configure("warning", "console"))).current()
        rendering = Rendering(text, namespace=namespace, policy=settings.operator, key=settings.key)
        from webhook.hooks.checksums.elsewhere import Cluster  # noqa: PLC0415

        cluster = Cluster(api, settings)
        found: Mapping[Place, Reading] = await cluster.read(rendering.elsewhere, seconds=_SECONDS)
        rendered = rendering.render(found)
        return rendered, await cluster.would_roll(rendered, seconds=_SECONDS) if diff else rendered.text
    finally:
        await api.close()


def _policy(values: Values) -> OperatorPolicy:
    from webhook.programs.checksums import operator_file  # noqa: PLC0415 - see above

    return operator_file(values, log.configure("warning", "console")).policy if values.file else OperatorPolicy()


def _key(values: Values) -> bytes | None:
    if values[declared.KEY_SECRET]:
        raise ConfigurationError(f"{declared.KEY_SECRET.flag} needs --from-cluster; or give the key by a file.")
    if values[declared.KEY_FILE] is None:
        return None
    from webhook.programs.sources import required_file  # noqa: PLC0415 - see above

    return required_file(values, declared.KEY_FILE)
