"""The settings of the commands that look at a cluster: those of the programs there, or those of a file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import click

from webhook.checksums.controller.scope import Scope, scope_of
from webhook.checksums.core.kinds import KINDS
from webhook.checksums.installation import INSTALLATION_FLAG, Installation
from webhook.checksums.policy_file import parse_policy
from webhook.checksums.settings import (
    KEY_FILE,
    PROGRESS_DEADLINE,
    SCOPE,
    SHARED,
    ChecksumSettings,
    checked_settings,
    live_settings,
)
from webhook.errors import ConfigurationError
from webhook.kube.api import KubernetesApi
from webhook.runtime import log, options
from webhook.runtime.clock import Clock
from webhook.runtime.settings import Settings, SettingsCatalogue

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

#: The settings that take precedence over those of the programs.
_DECLARED: Final = (*options.KUBERNETES, *SHARED, PROGRESS_DEADLINE, *SCOPE)


class Resolver(Protocol):
    """The object that `webhook.cli` gives to every command: it knows the settings of all features."""

    @property
    def catalogue(self) -> SettingsCatalogue:
        """All settings of the programs."""


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """The settings that a command was called with.

    Attributes:
        local: The settings of the command itself: flags, environment, and the settings file if one was given.
        flags: The flags.
        catalogue: All settings.
        from_file: Whether a settings file was given.
        installation: The namespace of rollonce; empty if it was not given.
    """

    local: Settings
    flags: Mapping[str, str | None]
    catalogue: SettingsCatalogue
    from_file: bool
    installation: str

    async def of_programs(self, api: KubernetesApi, clock: Clock) -> tuple[ChecksumSettings, Scope]:
        """Return the settings of the programs, and what the controller watches.

        Raises:
            ConfigurationError: They are not known, or a value is wrong.
            KubernetesError: The API server does not answer.
        """
        if self.from_file:
            return await self._of_file(api, clock)
        installation = await Installation.find(api, clock, namespace=self.installation)
        installed = await installation.read(self.catalogue, self.flags)
        settings = installed.settings
        policy = parse_policy(installed.file, default_namespace=options.own_namespace(settings))
        key_file, given = settings[KEY_FILE], self.flags.get(KEY_FILE.parameter) is not None
        key = await installation.file(str(key_file)) if key_file is not None and not given else None
        checked = await checked_settings(settings, api, clock=clock, key=key, policy=policy)
        return checked, scope_of(settings, KINDS)

    async def _of_file(self, api: KubernetesApi, clock: Clock) -> tuple[ChecksumSettings, Scope]:
        try:
            live = await live_settings(self.local, api, clock=clock, log=log.configure("warning", "console"))
            return live.current(), scope_of(self.local, KINDS)
        except ConfigurationError as error:
            # The flag of that setting is used by these commands for the namespace of the workloads.
            raise ConfigurationError(str(error).replace(options.NAMESPACE.flag, INSTALLATION_FLAG)) from None


def cluster_options(command: CommandT) -> CommandT:
    """Add the options from which `CommandSettings` are made; the command gets them as its argument `settings`."""

    @functools.wraps(command)
    def resolve_and_call(*arguments: Any, config: Path | None, installation: str, **parameters: Any) -> Any:
        flags: dict[str, str | None] = {one.parameter: parameters.pop(one.parameter) for one in _DECLARED}
        resolver: Resolver = click.get_current_context().obj
        catalogue = resolver.catalogue
        local = catalogue.resolve({**flags, options.NAMESPACE.parameter: installation or None}, config=config)
        settings = CommandSettings(local, flags, catalogue, config is not None, installation)
        return command(*arguments, settings=settings, **parameters)

    decorated: Callable[..., Any] = resolve_and_call
    for setting in reversed(_DECLARED):
        shown = f" Default: {setting.default}." if setting.default else ""
        decorated = click.option(
            setting.flag, setting.parameter, default=None, metavar="VALUE", help=f"{setting.help}{shown}"
        )(decorated)
    decorated = click.option(
        INSTALLATION_FLAG,
        "installation",
        default="",
        metavar="NAMESPACE",
        help="The namespace of rollonce; by default its controller is looked for in all namespaces.",
    )(decorated)
    decorated = click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help="A settings file instead of the settings of the controller in the cluster.",
    )(decorated)
    return cast("CommandT", decorated)
