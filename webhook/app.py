"""The composition root: settings, webhooks, rules and programs made from the list of features."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from webhook.admission.registration import (
    Installation,
    Registration,
    RegistrationOptions,
    ServiceEndpoint,
    UrlEndpoint,
    configurations,
)
from webhook.errors import ConfigurationError
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
        """All settings of both programs and of the webhook configurations: one settings file serves them all."""
        settings = dict.fromkeys((*self.server_settings, *self.controller_settings, *options.REGISTRATION))
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

    def registrations(self, wanted: RegistrationOptions) -> tuple[Registration, ...]:
        """Return the registrations of all webhooks, in the order in which mutating ones are called."""
        return tuple(webhook.registration for feature in self.features for webhook in feature.webhooks(wanted))

    def registration_options(self, settings: Settings) -> RegistrationOptions:
        """Return which requests the settings want, as the settings file has it now.

        Raises:
            ConfigurationError: A part of the file is invalid.
        """
        account = settings[options.CONTROLLER_ACCOUNT]
        user = ""
        if account:
            try:
                user = f"system:serviceaccount:{options.own_namespace(settings)}:{account}"
            except ConfigurationError:
                # Without a namespace there is no ServiceAccount of ours.
                user = ""
        wanted = RegistrationOptions(controller_user=user)
        for feature in self.features:
            wanted = feature.registration_options(wanted, settings)
        return wanted

    def webhook_configurations(
        self, settings: Settings, *, wanted: RegistrationOptions | None = None, ca_bundle: bytes = b""
    ) -> list[dict[str, Any]]:
        """Return the webhook configurations that the settings lead to, as the settings file has it now.

        Args:
            settings: The settings.
            wanted: Which requests are wanted, if not those of `registration_options`.
            ca_bundle: The PEM bundle that the server's certificate chains to; empty where it is injected.

        Raises:
            ConfigurationError: Neither the Service's namespace nor a URL is known, or a part of the file is invalid.
        """
        endpoint: UrlEndpoint | ServiceEndpoint
        if url := settings[options.WEBHOOKS_URL]:
            endpoint = UrlEndpoint(url)
        else:
            endpoint = ServiceEndpoint(options.own_namespace(settings), settings[options.SERVICE])
        installation = Installation(
            endpoint,
            ca_bundle=base64.b64encode(ca_bundle).decode(),
            configuration_name=settings[options.CONFIGURATIONS][0],
        )
        return configurations(self.registrations(wanted or self.registration_options(settings)), installation)

    def access_rules(self, access: AccessOptions) -> ProgramRules:
        """Return the RBAC rules that the programs need in a namespace that is served."""
        rules = [feature.rules(access) for feature in self.features]
        return ProgramRules(
            server=tuple(rule for one in rules for rule in one.server),
            controller=tuple(rule for one in rules for rule in one.controller),
        )

    def serve(self, settings: Settings) -> int:
        """Run `rollonce serve` until it is asked to stop, and return its exit code.

        Raises:
            ConfigurationError: A setting cannot work here.
        """
        options.own_namespace(settings)  # of the objects that features keep there
        for feature in self.features:
            feature.check_server(settings)
        # Imported here, because other commands need not load the programs.
        from webhook.programs.process import Program, run  # noqa: PLC0415
        from webhook.programs.serve import serve  # noqa: PLC0415

        work = partial(serve, features=self.features, render=partial(self.webhook_configurations, settings))
        return run(settings, Program(name="serve", ports=(options.LISTEN,), drain=settings[options.DRAIN], work=work))

    def control(self, settings: Settings) -> int:
        """Run `rollonce controller` until it is asked to stop, and return its exit code.

        Raises:
            ConfigurationError: A setting cannot work here.
        """
        options.own_namespace(settings)  # of the Lease
        for feature in self.features:
            feature.check_controller(settings)
        from webhook.programs.controller import control  # noqa: PLC0415
        from webhook.programs.process import Program, run  # noqa: PLC0415

        work = partial(control, features=self.features, render=partial(self.webhook_configurations, settings))
        return run(settings, Program(name="controller", work=work))
