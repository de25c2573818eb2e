"""`rollonce controller`."""

from __future__ import annotations

from pathlib import Path

import click

from webhook import options
from webhook.app import run_controller
from webhook.commands.common import settings_options


@click.command()
@settings_options(options.CONTROLLER)
def controller(config: Path | None, **flags: str | None) -> None:
    """Roll workloads, confirm runs, rotate certificates: what admission alone cannot.

    Run two: one leads, the other takes over. It ends on SIGTERM, and at once on a second one.
    """
    run_controller(options.resolve(flags, config=config))
