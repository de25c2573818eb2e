"""The options of `rollonce runs`."""

from __future__ import annotations

import time
from datetime import datetime

import click

from webhook.dedupe.settings import DEDUPE_NAMESPACES, RECORD_FORMAT, REDIS_URL, RETENTION
from webhook.runtime import options, parsers
from webhook.runtime.command_line import Checked, settings_options


class Moment(click.ParamType[float]):
    """An option that is a time: RFC 3339, or a duration for so long ago. Its value is in seconds since 1970."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the text."""
        if not isinstance(value, str):
            return value
        try:
            return time.time() - parsers.duration_seconds(value)
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(
                f"{value!r}: give a time with its zone, such as 2026-01-31T13:00:00Z, or 2h for so long ago.",
                param,
                ctx,
            )
        return moment.timestamp()


SETTINGS = settings_options(
    (*options.KUBERNETES, REDIS_URL, RETENTION, RECORD_FORMAT, DEDUPE_NAMESPACES, *options.LOGGING)
)
OUTPUT = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
NAMESPACE = click.option("-n", "--namespace", type=Checked(parsers.dns_label), help="Only this namespace.")
ALL = click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces, as without -n.")
REF = click.option("--ref", help="Name of the orchestration (spec.orchestrationRef.name); '' for runs that have none.")
ID = click.option("--id", "delivery_id", default="", help="The deliveryId, byte for byte.")
