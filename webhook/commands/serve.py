"""`rollonce serve` and `rollonce controller`."""

from __future__ import annotations

import click

from webhook.app import Application
from webhook.runtime.command_line import settings_options
from webhook.runtime.settings import Settings


def serve(application: Application) -> click.Command:
    """Return the command that runs the admission server."""

    @click.command("serve")
    @settings_options(application.server_settings)
    def command(*, settings: Settings) -> int:
        """Serve admission reviews over TLS.

        The server needs no leader: run two or more. It ends on SIGTERM after draining, and at once on a second one.
        """
        return application.serve(settings)

    return command


def controller(application: Application) -> click.Command:
    """Return the command that runs the controller."""

    @click.command("controller")
    @settings_options(application.controller_settings)
    def command(*, settings: Settings) -> int:
        """Roll workloads, confirm runs, rotate certificates: what admission alone cannot do.

        Run two: one leads, the other takes over. It ends on SIGTERM, and at once on a second one.
        """
        return application.control(settings)

    return command
