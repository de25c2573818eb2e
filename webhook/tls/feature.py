"""The feature: certificates that rollonce makes or reads, TLS settings, and `rollonce certs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from webhook.feature import Command, Feature, Process
from webhook.runtime.settings import Settings
from webhook.tls import settings

if TYPE_CHECKING:
    from webhook.kube.runnable import LeaderRunnable


async def _start_controller(process: Process) -> Sequence[LeaderRunnable]:
    # Imported here, because commands load this module and need neither cryptography nor the API client.
    from webhook.tls.rotation_runnable import rotation_runnables  # noqa: PLC0415

    return rotation_runnables(process)


def _check_server(settings: Settings) -> None:
    from webhook.tls.check import check_server  # noqa: PLC0415 - as above

    check_server(settings)


def _check_controller(settings: Settings) -> None:
    from webhook.tls.check import check_controller  # noqa: PLC0415 - as above

    check_controller(settings)


TLS: Final[Feature[None]] = Feature(
    name="tls",
    server_settings=settings.SERVER,
    controller_settings=settings.CERTIFICATE,
    check_server=_check_server,
    check_controller=_check_controller,
    start_controller=_start_controller,
    commands=(Command("certs", "webhook.tls.commands", "Show certificates, and have them replaced."),),
)
