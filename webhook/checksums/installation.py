"""The settings with which rollonce runs in a cluster, for commands that have to decide as the programs do.

They are read where the controller's pods get them: from the arguments, the environment and the mounted files.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec
import yaml

from webhook.checksums.core.controller_pod import ControllerDeployment, expand, parse_arguments
from webhook.errors import ConfigurationError, KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.kube.listing import RefusedError, Selection, pages
from webhook.kube.objects import DECODE_ERRORS
from webhook.runtime.clock import Clock
from webhook.runtime.deadline import Deadline
from webhook.runtime.options import NAMESPACE
from webhook.runtime.settings import Settings, SettingsCatalogue

#: The labels of the controller's Deployment, as those of `deploy/manifests` has them.
LABELS: Final = "app.kubernetes.io/name=rollonce,app.kubernetes.io/component=controller"
INSTALLATION_FLAG: Final = "--installation"
_ADVICE: Final = f"Give the namespace of rollonce by {INSTALLATION_FLAG}, or its settings by --config."
_SECONDS: Final = 30.0


class _Contents(msgspec.Struct, frozen=True):
    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        return "_Contents(…)"


_deployment_decoder: Final = msgspec.json.Decoder(ControllerDeployment)


@dataclass(frozen=True, slots=True)
class InstalledSettings:
    """The settings of the controller in a cluster.

    Attributes:
        settings: Its settings; a path in them is one in its pods.
        file: The contents of its settings file.
    """

    settings: Settings
    file: Mapping[str, Any]


class Installation:
    """The controller in a cluster.

    Args:
        api: The API server. Needs list of Deployments, get of the ConfigMap with the settings file, and get of the
            Secret with the key of keyed checksums, if it is a file.
        deployment: Its Deployment.
        clock: Monotonic time.

    Raises:
        ConfigurationError: It is not the controller's Deployment.
    """

    def __init__(self, api: KubernetesApi, deployment: ControllerDeployment, clock: Clock) -> None:
        container = deployment.pod.container
        if container is None:
            raise ConfigurationError(f"The settings of rollonce are not known: {deployment} runs none. {_ADVICE}")
        self._api = api
        self._clock = clock
        self._deployment = deployment
        self._container = container

    @classmethod
    async def find(cls, api: KubernetesApi, clock: Clock, *, namespace: str = "") -> Installation:
        """Find the controller.

        Args:
            api: The API server.
            clock: Monotonic time.
            namespace: The namespace of rollonce; empty means that all are searched.

        Raises:
            ConfigurationError: There is none, or more than one, or Deployments may not be listed.
            KubernetesError: The API server does not answer.
        """
        where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        selection = Selection(f"/apis/apps/v1{where}/deployments", labels=LABELS)
        found: list[ControllerDeployment] = []
        try:
            async for raws, _ in pages(api, selection, lambda: clock.deadline(_SECONDS)):
                found += map(_deployment_decoder.decode, raws)
        except RefusedError as error:
            raise ConfigurationError(f"The settings of rollonce cannot be read: {error} {_ADVICE}") from None
        if len(found) != 1:
            seen = ", ".join(map(str, found)) or "there is none"
            raise ConfigurationError(
                f"The settings of rollonce are not known: of the Deployments with the labels {LABELS} there has to be "
                f"one; {seen}. {_ADVICE}"
            )
        return cls(api, found[0], clock)

    async def read(self, catalogue: SettingsCatalogue, flags: Mapping[str, str | None]) -> InstalledSettings:
        """Return the settings of the controller.

        Args:
            catalogue: All settings.
            flags: Values that take precedence, by `Setting.parameter`; None where there is none.

        Raises:
            ConfigurationError: They cannot be read, or a value is wrong.
            KubernetesError: The API server does not answer.
        """
        environment = await self._environment()
        parameters = {setting.flag: setting.parameter for setting in catalogue.settings}
        config, own = parse_arguments(self._container.arguments or (), parameters, environment)
        tree = _parse(await self.file(config), config) if config else {}
        given = {**own, **{name: value for name, value in flags.items() if value is not None}}

        def resolve(**more: str) -> Settings:
            return Settings(
                catalogue.settings,
                flags={**given, **more},
                environ=environment,
                file=tree,
                file_name=config,
                structured=catalogue.structured,
            )

        settings = resolve()
        if not settings[NAMESPACE]:
            settings = resolve(**{NAMESPACE.parameter: self._deployment.namespace})
        return InstalledSettings(settings, tree)

    async def file(self, path: str) -> bytes:
        """Return the contents of a file in the pods.

        Raises:
            ConfigurationError: It cannot be read.
            KubernetesError: The API server does not answer.
        """
        mounted = self._deployment.pod.find(self._container, path)
        if mounted is None:
            raise _unreadable(path, f"{self._deployment} mounts it neither from a ConfigMap nor from a Secret.")
        plural = "secrets" if mounted.is_secret else "configmaps"
        text = (await self._data(plural, mounted.name)).get(mounted.entry)
        if text is None:
            raise _unreadable(path, f"{plural} {mounted.name} has no entry {mounted.entry!r}.")
        try:
            return base64.b64decode(text, validate=True) if mounted.is_secret else text.encode()
        except binascii.Error:
            raise _unreadable(path, f"{plural} {mounted.name} is not base64.") from None

    async def _environment(self) -> dict[str, str]:
        """Return the environment variables that do not come from Secrets: no setting of checksums is secret."""
        found: dict[str, str] = {}
        for source in self._container.env_from or ():
            if source.config_map_ref:
                data = await self._data("configmaps", source.config_map_ref.name)
                found |= {source.prefix + key: value for key, value in data.items()}
        for variable in self._container.env or ():
            if variable.is_namespace:
                found[variable.name] = self._deployment.namespace
            elif entry := variable.entry:
                data = await self._data("configmaps", entry.name)
                found |= {variable.name: data[entry.key]} if entry.key in data else {}
            elif variable.value_from is None:
                found[variable.name] = expand(variable.value, found)
        return found

    async def _data(self, plural: str, name: str) -> Mapping[str, str]:
        namespace = self._deployment.namespace
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/{plural}/{quote(name, safe='')}"
        reply = await self._api.get(path, self._deadline())
        if not reply.ok:
            raise ConfigurationError(
                f"The settings of rollonce cannot be read from {plural} {namespace}/{name}: the API server answered "
                f"{reply.status}. {_ADVICE}"
            )
        try:
            return msgspec.json.decode(reply.body, type=_Contents).data or {}
        except DECODE_ERRORS:
            raise KubernetesError(f"The answer to a get of {plural} {namespace}/{name} is not understood.") from None

    def _deadline(self) -> Deadline:
        return self._clock.deadline(_SECONDS)


def _parse(text: bytes, path: str) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(text.decode())
    except (yaml.YAMLError, ValueError, RecursionError):
        raise _unreadable(path, "it is not YAML.") from None
    if not isinstance(tree, dict | None):
        raise _unreadable(path, "it is no map of settings.")
    return tree or {}


def _unreadable(path: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"The settings of rollonce cannot be read from {path}: {why} {_ADVICE}")
