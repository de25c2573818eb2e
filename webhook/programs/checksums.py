"""From settings to checksums: what the server and the controller have in common, and the controller's part."""

from __future__ import annotations

import base64
import binascii
import random
import socket
import time
from typing import Final

import msgspec

from webhook import options
from webhook.admission.deadline import Deadline
from webhook.certificates.served import now
from webhook.clients.api import KubernetesApi
from webhook.clients.kubernetes import KubernetesClient, load_configuration
from webhook.config import Values
from webhook.controller.events import EventRecorder
from webhook.controller.metrics import QueueMetrics, WatchMetrics
from webhook.controller.parts import LeaderPart
from webhook.errors import ConfigurationError, KubernetesError
from webhook.hooks.checksums import ChecksumMetrics, ChecksumSettings
from webhook.hooks.checksums import options as declared
from webhook.hooks.checksums.controller.part import Rolling
from webhook.hooks.checksums.controller.scope import Access, Scope
from webhook.hooks.checksums.controller.telling import Teller
from webhook.hooks.checksums.controller.tools import Tools
from webhook.hooks.checksums.controller.view import Watching
from webhook.hooks.checksums.core.keys import Source, SourceKind
from webhook.hooks.checksums.core.pace import Pace
from webhook.hooks.checksums.metrics import RollMetrics
from webhook.hooks.checksums.operator import OperatorFile
from webhook.hooks.checksums.settings import LiveSettings
from webhook.log import Logger
from webhook.programs.process import Process
from webhook.programs.sources import own_namespace, required_file

#: Who tells of Events.
COMPONENT: Final = "rollonce"
_KEY_SECONDS: Final = 10.0
#: Lists and the reads that follow come on top of the watches.
_SPARE_CONNECTIONS: Final = 16


class _Secret(msgspec.Struct, frozen=True):
    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        return "_Secret(…)"


async def live_settings(values: Values, api: KubernetesApi, log: Logger) -> LiveSettings:
    """Collect what the operator has chosen.

    Args:
        values: The settings.
        api: The API server, for a key that is in a Secret.
        log: Told of changes of the operator's list.

    Raises:
        ConfigurationError: A setting cannot work, or there is a key that cannot be read.
    """
    try:
        fixed = ChecksumSettings(
            missing=values[declared.MISSING],
            max_concurrent=values[declared.MAX_CONCURRENT],
            key=await _key(values, api),
        )
    except ValueError as error:
        raise ConfigurationError(f"Checksums cannot be made: {error}.") from None
    return LiveSettings(fixed, operator_file(values, log))


def operator_file(values: Values, log: Logger) -> OperatorFile:
    """Open the operator's list.

    Raises:
        ConfigurationError: It cannot be followed.
    """
    try:
        default = own_namespace(values)
    except ConfigurationError:
        default = ""
    return OperatorFile(values.file, default_namespace=default, log=log)


async def rolling(process: Process) -> LeaderPart:
    """Put the controller's part together.

    Raises:
        ConfigurationError: A setting cannot work.
    """
    values = process.values
    settings = await live_settings(values, process.api, process.log)
    scope = scope_of(values)
    configuration = await load_configuration(values[options.KUBECONFIG], values[options.CONTEXT])
    watches = KubernetesClient(
        configuration, user_agent="rollonce-controller", connections=scope.watches + _SPARE_CONNECTIONS
    )
    process.stack.push_async_callback(watches.close)
    metrics = RollMetrics(process.registry)
    recorder = EventRecorder(
        process.api,
        component=COMPONENT,
        instance=socket.gethostname(),
        clock=time.monotonic,
        wall_clock=now,
        log=process.log,
    )
    process.background.start("events", recorder.run)
    tools = Tools(
        api=process.api,
        watching=Watching(watches, time.monotonic, random.random, process.log, WatchMetrics(process.registry)),
        teller=Teller(recorder, process.log, metrics),
        metrics=metrics,
        reads=ChecksumMetrics(process.registry),
        queues=QueueMetrics(process.registry),
    )
    return Rolling(settings, scope, pace_of(values), tools)


def scope_of(values: Values) -> Scope:
    """Say what is watched.

    Raises:
        ConfigurationError: That would be nothing.
    """
    access, namespaces = values[declared.ACCESS], values[declared.WATCH_NAMESPACES]
    if access is Access.CLUSTER:
        if namespaces:
            raise ConfigurationError(
                f"{values.source(declared.WATCH_NAMESPACES)}: with access cluster all namespaces are watched; leave it "
                f"out, or choose {declared.ACCESS.flag} namespaces."
            )
        return Scope(access)
    secrets = (Source(SourceKind.SECRET, name) for name in values[declared.WATCH_SECRETS])
    config_maps = (Source(SourceKind.CONFIG_MAP, name) for name in values[declared.WATCH_CONFIG_MAPS])
    try:
        return Scope(access, namespaces or (own_namespace(values),), (*secrets, *config_maps))
    except ValueError:
        raise ConfigurationError(
            f"{values.source(declared.ACCESS)}: with access names, give {declared.WATCH_SECRETS.flag} or "
            f"{declared.WATCH_CONFIG_MAPS.flag}."
        ) from None


def pace_of(values: Values) -> Pace:
    """Say how long to wait before writing.

    Raises:
        ConfigurationError: The times contradict each other.
    """
    try:
        return Pace(
            settle=values[declared.SETTLE],
            ceiling=values[declared.SETTLE_CEILING],
            backoff=values[declared.BACKOFF],
            backoff_limit=values[declared.BACKOFF_LIMIT],
        )
    except ValueError as error:
        raise ConfigurationError(f"The pace of rollouts cannot work: {error}.") from None


async def _key(values: Values, api: KubernetesApi) -> bytes | None:
    named = values[declared.KEY_SECRET]
    if values[declared.KEY_FILE] is not None:
        if named:
            raise ConfigurationError(f"Give either {declared.KEY_FILE.flag} or {declared.KEY_SECRET.flag}.")
        return required_file(values, declared.KEY_FILE)
    return await _secret_key(named, values, api) if named else None


async def _secret_key(named: str, values: Values, api: KubernetesApi) -> bytes:
    """Read the key of keyed checksums; plain ones instead would show what it is to hide, so there is no going on."""
    name, _, entry = named.partition("/")
    where = f"{values.source(declared.KEY_SECRET)}: the key {named}"
    path = f"/api/v1/namespaces/{own_namespace(values)}/secrets/{name}"
    try:
        reply = await api.get(path, Deadline.after(_KEY_SECONDS, time.monotonic))
    except KubernetesError as error:
        raise ConfigurationError(f"{where} cannot be read: {error}") from None
    if not reply.ok:
        raise ConfigurationError(f"{where} cannot be read: the API server answered {reply.status}.")
    try:
        encoded = (msgspec.json.decode(reply.body, type=_Secret).data or {})[entry]
        return base64.b64decode(encoded, validate=True)
    except (KeyError, msgspec.DecodeError, binascii.Error):
        raise ConfigurationError(f"{where} cannot be read: the Secret has no entry {entry!r}.") from None
