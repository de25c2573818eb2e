"""The CA bundle in webhook configurations: read it and write it.

Writes are JSON Patches with a `test` on the resourceVersion and on each webhook's name, never server-side apply: an
applied `caBundle` would make this program an owner of the webhook's entry, and the next GitOps sync that removes the
webhook would fail. Others may remove, add and reorder webhooks at any time; only those that call this Service are
changed.
"""

import asyncio
import base64
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote

import msgspec

from certs.api import JSON_PATCH, CertificateApi, Metadata, decode_reply, error_of
from certs.bundle import Bundle, parse_bundle
from certs.errors import ConflictError, PemError

_GROUP: Final = "/apis/admissionregistration.k8s.io/v1"


class Kind(StrEnum):
    """The two kinds of webhook configuration, by their names in paths."""

    MUTATING = "mutatingwebhookconfigurations"
    VALIDATING = "validatingwebhookconfigurations"


@dataclass(frozen=True, slots=True)
class Target:
    """The webhooks of this installation: those in the named configurations that call its Service or URL.

    Attributes:
        namespace: Namespace of the Service that they call.
        service: Name of the Service.
        mutating: Names of mutating configurations; those that do not exist are ignored.
        validating: Names of validating configurations; those that do not exist are ignored.
        url_prefix: Webhooks that are registered by a `url` belong to this installation if it starts with this; none
            does if this is empty.
    """

    namespace: str
    service: str
    mutating: tuple[str, ...] = ()
    validating: tuple[str, ...] = ()
    url_prefix: str = ""


@dataclass(frozen=True, slots=True)
class PublishedWebhook:
    """One webhook of this installation, as it is in its configuration.

    Attributes:
        index: Its position in the list of webhooks.
        name: Its name.
        bundle: Its caBundle; one that cannot be parsed counts as empty.
    """

    index: int
    name: str
    bundle: Bundle


@dataclass(frozen=True, slots=True)
class PublishedConfiguration:
    """A webhook configuration at one version.

    Attributes:
        kind: Its kind.
        name: Its name.
        version: Its resourceVersion.
        webhooks: Those of its webhooks that belong to this installation.
    """

    kind: Kind
    name: str
    version: str
    webhooks: tuple[PublishedWebhook, ...]


class _Service(msgspec.Struct, frozen=True):
    namespace: str = ""
    name: str = ""


class _ClientConfig(msgspec.Struct, frozen=True, rename="camel"):
    service: _Service | None = None
    url: str | None = None
    ca_bundle: bytes | None = msgspec.field(default=None, name="caBundle")


class _Webhook(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    client_config: _ClientConfig


class _Configuration(msgspec.Struct, frozen=True):
    metadata: Metadata
    webhooks: list[_Webhook] | None = None


class Injector:
    """Read and write the `caBundle` of this installation's webhooks.

    Needs the rights `get` and `patch` on the named configurations.

    Args:
        api: Calls to the API server.
        target: The webhooks of this installation.
    """

    def __init__(self, api: CertificateApi, target: Target) -> None:
        self._api = api
        self._target = target

    async def observe(self) -> tuple[PublishedConfiguration, ...]:
        """Read every configuration that has a webhook of this installation, as it is now.

        Raises:
            ApiUnavailableError: There is no reply, or it is 429 or 5xx.
            ApiRefusedError: There is no right to read them.
        """
        configured = ((Kind.MUTATING, self._target.mutating), (Kind.VALIDATING, self._target.validating))
        found = await asyncio.gather(*(self._read(kind, name) for kind, names in configured for name in names))
        return tuple(configuration for configuration in found if configuration and configuration.webhooks)

    async def publish(self, bundle: Bundle, configuration: PublishedConfiguration) -> bool:
        """Write the bundle to each webhook of a configuration that has another.

        Args:
            bundle: The CAs to trust.
            configuration: The configuration as it was read; the write fails if it has changed since.

        Returns:
            Whether a write was necessary.

        Raises:
            ConflictError: It was changed or deleted since: read and decide again.
            ApiUnavailableError: There is no reply, or it is 429 or 5xx; it is unknown whether it was written.
            ApiRefusedError: There is no right to write it.
        """
        stale = [webhook for webhook in configuration.webhooks if webhook.bundle != bundle]
        if not stale:
            return False
        operations: list[dict[str, str]] = [_test("/metadata/resourceVersion", configuration.version)]
        for webhook in stale:
            operations.append(_test(f"/webhooks/{webhook.index}/name", webhook.name))
            path = f"/webhooks/{webhook.index}/clientConfig/caBundle"
            operations.append({"op": "add", "path": path, "value": base64.b64encode(bundle.pem).decode()})
        action = f"writing the caBundle of {configuration.kind} {configuration.name}"
        status, body = await self._api.request(
            "PATCH", _path(configuration.kind, configuration.name), msgspec.json.encode(operations), JSON_PATCH
        )
        # The API server answers 422 if a `test` fails.
        if status in (404, 409, 422):
            raise ConflictError(f"{action}: it has changed since it was read")
        if status != 200:
            raise error_of(status, body, action=action)
        return True

    async def _read(self, kind: Kind, name: str) -> PublishedConfiguration | None:
        action = f"reading {kind} {name}"
        status, body = await self._api.get(_path(kind, name))
        if status == 404:
            return None
        if status != 200:
            raise error_of(status, body, action=action)
        return self._published(kind, decode_reply(body, _Configuration, action=action))

    def _published(self, kind: Kind, configuration: _Configuration) -> PublishedConfiguration:
        webhooks = tuple(
            PublishedWebhook(index, webhook.name, _bundle(webhook.client_config))
            for index, webhook in enumerate(configuration.webhooks or ())
            if self._selects(webhook.client_config)
        )
        return PublishedConfiguration(
            kind, configuration.metadata.name, configuration.metadata.resource_version, webhooks
        )

    def _selects(self, client: _ClientConfig) -> bool:
        if client.service:
            return (client.service.namespace, client.service.name) == (self._target.namespace, self._target.service)
        return bool(self._target.url_prefix) and (client.url or "").startswith(self._target.url_prefix)


def _bundle(client: _ClientConfig) -> Bundle:
    try:
        return parse_bundle(client.ca_bundle or b"", what="caBundle")
    except PemError:
        return Bundle()


def _path(kind: Kind, name: str) -> str:
    return f"{_GROUP}/{kind}/{quote(name, safe='')}"


def _test(path: str, value: str) -> dict[str, str]:
    return {"op": "test", "path": path, "value": value}
