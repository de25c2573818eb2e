"""The composition root: which webhooks there are, and which programs."""

from __future__ import annotations

from webhook.admission.registration import Registration
from webhook.config import Values
from webhook.hooks import checksums
from webhook.hooks.checksums.registration import registrations as checksum_registrations
from webhook.hooks.dedupe.registration import REGISTRATIONS as DEDUPE_REGISTRATIONS
from webhook.programs.controller import control
from webhook.programs.process import run
from webhook.programs.serve import serve


def registrations(*, controller: str = "", listed: tuple[str, ...] = ()) -> tuple[Registration, ...]:
    """Return every webhook that the API server is to be told of.

    Args:
        controller: The user name of our controller's ServiceAccount.
        listed: The namespaces of the operator's list of checksums.
    """
    return checksum_registrations(checksums.RESOURCES, controller=controller, listed=listed) + DEDUPE_REGISTRATIONS


def run_server(values: Values) -> None:
    """Run `rollonce serve` until it is told to stop.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    run(values, serve, name="serve")


def run_controller(values: Values) -> None:
    """Run `rollonce controller` until it is told to stop.

    Raises:
        ConfigurationError: A setting cannot work here.
    """
    run(values, control, name="controller")
