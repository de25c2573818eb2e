"""`rollonce serve`."""

from __future__ import annotations

from pathlib import Path

import click

from webhook import options
from webhook.app import run_server
from webhook.commands.common import settings_options


@click.command()
@settings_options(options.SERVE)
def serve(config: Path | None, **flags: str | None) -> None:
    """Serve admission reviews over TLS.

    The server needs no leader: run two or more. It ends on SIGTERM after having drained, and at once on a second one.
    """
    run_server(options.resolve(flags, config=config))
