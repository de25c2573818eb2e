"""The composition root: settings, webhooks, rules and programs made from the list of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from webhook.admission.registration import Registration, RegistrationOptions
from webhook.feature import Feature
from webhook.kube.rbac import AccessOptions, ProgramRules
from webhook.runtime import options
from webhook.runtime.settings import Setting, Settings, SettingsCatalogue


@dataclass(frozen=True, slots=True)
class Application:
    """Everything that is made by going through the features.

    Attributes:
        features: The features; their webhooks are registered and called in this order.
    """

    features: tuple[Feature[Any], ...]

    @property
    def server_settings(self) -> tuple[Setting[Any], ...]:
        """The settings of `rollonce serve`, each once."""
        own = (setting for feature in self.features for setting in feature.server_settings)
        return tuple(dict.fromkeys((*options.SERVER, *own)))

    @property
    def controller_settings(self) -> tuple[Setting[Any], ...]:
        """The settings of `rollonce controller`, each once."""
        own = (setting for feature in self.features for setting in feature.controller_settings)
        return tuple(dict.fromkeys((*options.CONTROLLER, *own)))

    @property
    def catalogue(self) -> SettingsCatalogue:
        """All settings of both programs: one settings file serves both."""
        settings = dict.fromkeys((*self.server_settings, *self.controller_settings))
        structured = frozenset(key for feature in self.features for key in feature.structured_settings)
        return SettingsCatalogue(tuple(settings), structured)

    def resolve(self, flags: Mapping[str, str | None], *, config: Path | None) -> Settings:
        """Return the value of each setting.

        Args:
            flags: The values given on the command line, by `Setting.parameter`.
            config: The settings file, if one was given.

        Raises:
            ConfigurationError: A value is wrong.
        """
        return self.catalogue.resolve(flags, config=config)

    def registrations(self, options: RegistrationOptions) -> tuple[Registration, ...]:
        """Return the registrations of all webhooks, in the order in which mutating ones are called."""
        return tuple(webhook.registration for feature in self.features for webhook in feature.webhooks(options))

    def access_rules(self, access: AccessOptions) -> ProgramRules:
        """Return the RBAC rules that the programs need in a namespace that is served."""
        rules = [feature.rules(access) for feature in self.features]
        return ProgramRules(
            server=tuple(rule for one in rules for rule in one.server),
            controller=tuple(rule for one in rules for rule in one.controller),
        )

    def serve(self, settings: Settings) -> None:
        """Run `rollonce serve` until it is asked to stop.

        Raises:
            ConfigurationError: A setting cannot work here.
        """
        # Imported here, because other commands need not load the programs.
        from webhook.programs.process import run  # noqa: PLC0415
        from webhook.programs.serve import serve  # noqa: PLC0415

        run(settings, partial(serve, features=self.features), name="serve")

    def control(self, settings: Settings) -> None:
        """Run `rollonce controller` until it is asked to stop.

        Raises:
            ConfigurationError: A setting cannot work here.
        """
        from webhook.programs.controller import control  # noqa: PLC0415
        from webhook.programs.process import run  # noqa: PLC0415

        run(settings, partial(control, features=self.features), name="controller")
