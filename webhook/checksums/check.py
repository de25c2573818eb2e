"""What can be checked of the settings of checksums before anything is opened: contradictions, and files.

The operator's list is read here too, for what is rendered from the settings: the webhook configurations.
"""

from __future__ import annotations

from webhook.checksums import policy_file
from webhook.checksums.controller.scope import scope_of
from webhook.checksums.core.kinds import WorkloadKind
from webhook.checksums.core.optin import OperatorPolicy
from webhook.checksums.settings import (
    BACKOFF,
    BACKOFF_LIMIT,
    KEY_FILE,
    KEY_SECRET,
    SETTLE,
    SETTLE_CEILING,
    ChecksumSettings,
    namespace_of,
)
from webhook.errors import ConfigurationError
from webhook.runtime.options import own_namespace, required_file
from webhook.runtime.settings import Setting, Settings


def check_server(settings: Settings) -> None:
    """Check the settings that both programs read.

    Raises:
        ConfigurationError: Settings contradict each other, or a file cannot be used.
    """
    policy_of(settings)
    if settings[KEY_SECRET]:
        if settings[KEY_FILE] is not None:
            given = settings.sources(KEY_FILE, KEY_SECRET)
            raise ConfigurationError(f"{given}: give either {KEY_FILE.flag} or {KEY_SECRET.flag}.")
        own_namespace(settings)
    elif settings[KEY_FILE] is not None:
        try:
            ChecksumSettings(key=required_file(settings, KEY_FILE))
        except ValueError as error:
            raise ConfigurationError(f"{settings.source(KEY_FILE)}: {error}.") from None


def check_controller(settings: Settings, kinds: tuple[WorkloadKind, ...]) -> None:
    """Check the settings that the controller reads.

    Raises:
        ConfigurationError: Settings contradict each other, or a file cannot be used.
    """
    check_server(settings)
    scope_of(settings, kinds)
    _require_order(settings, SETTLE, SETTLE_CEILING)
    _require_order(settings, BACKOFF, BACKOFF_LIMIT)


def policy_of(settings: Settings) -> OperatorPolicy:
    """Return the operator's list as the settings file has it now.

    Raises:
        ConfigurationError: It is invalid.
    """
    return policy_file.policy_of(settings, default_namespace=namespace_of(settings))


def _require_order(settings: Settings, shorter: Setting[float], longer: Setting[float]) -> None:
    if settings[shorter] > settings[longer]:
        given = settings.sources(shorter, longer)
        raise ConfigurationError(f"{given}: {shorter.name} must not be longer than {longer.name}.")
