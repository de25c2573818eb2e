"""Writes the CA bundle into webhook configurations, and reads what is there.

By JSON Patch with a `test` on the resourceVersion and on each webhook's name, never by server-side apply: an applied
`caBundle` makes us co-own the entry, and the next GitOps sync that drops the webhook then fails. Webhooks may be
dropped, added and reordered by others at any time; only those that call our Service are touched.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

import msgspec

from certs.api import JSON_PATCH, KubernetesApi, Metadata, decode_answer, problem
from certs.bundle import Bundle, parse_bundle
from certs.errors import CertificateError, ConflictError, PemError

_GROUP = "/apis/admissionregistration.k8s.io/v1"


class Kind(StrEnum):
    """The two kinds of webhook configuration, by their names in paths."""

    MUTATING = "mutatingwebhookconfigurations"
    VALIDATING = "validatingwebhookconfigurations"


@dataclass(frozen=True, slots=True)
class Target:
    """Which webhooks are ours.

    Args:
        namespace: Of the Service that they call.
        service: Its name.
        mutating: Names of configurations to look at; a name that does not exist is left out.
        validating: As above.
        label_selector: Looks at every configuration that it selects, instead of by name.
        url_prefix: Takes webhooks registered by a `url` that starts with this for ours too.
    """

    namespace: str
    service: str
    mutating: tuple[str, ...] = ()
    validating: tuple[str, ...] = ()
    label_selector: str = ""
    url_prefix: str = ""


@dataclass(frozen=True, slots=True)
class PublishedWebhook:
    """One of our webhooks as it stands in its configuration.

    Args:
        index: Its place in the list of webhooks.
        name: Its name.
        bundle: Its caBundle; what cannot be parsed counts as empty.
    """

    index: int
    name: str
    bundle: Bundle


@dataclass(frozen=True, slots=True)
class PublishedConfiguration:
    """A webhook configuration at one version, with those webhooks in it that are ours."""

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


class _List(msgspec.Struct, frozen=True):
    items: list[_Configuration]


class Injector:
    """Reads and writes `caBundle` of our webhooks.

    Needs `get` and `patch` on the named configurations, or `list` and `patch` with a selector.

    Args:
        api: Calls to the API server.
        target: Which webhooks are ours.
    """

    def __init__(self, api: KubernetesApi, target: Target) -> None:
        self._api = api
        self._target = target

    async def observe(self) -> tuple[PublishedConfiguration, ...]:
        """Reads every configuration that holds a webhook of ours, as it is now.

        Raises:
            ApiUnavailableError: No answer, or 429 or 5xx.
            ApiRefusedError: No right to read them.
        """
        if self._target.label_selector:
            reads = [self._select(kind) for kind in Kind]
        else:
            wanted = ((Kind.MUTATING, self._target.mutating), (Kind.VALIDATING, self._target.validating))
            reads = [self._read(kind, name) for kind, names in wanted for name in names]
        found = [configuration for part in await asyncio.gather(*reads) for configuration in part]
        return tuple(configuration for configuration in found if configuration.webhooks)

    async def publish(self, bundle: Bundle, configuration: PublishedConfiguration) -> bool:
        """Writes the bundle to each webhook of a configuration that has another.

        Args:
            bundle: What to trust.
            configuration: As it was read; the write fails if it has changed since.

        Returns:
            Whether anything had to be written.

        Raises:
            ConflictError: It has changed or gone since: read again and decide anew.
            ApiUnavailableError: No answer, or 429 or 5xx; whether it was written is unknown.
            ApiRefusedError: No right to write it.
        """
        stale = [w for w in configuration.webhooks if w.bundle != bundle]
        if not stale:
            return False
        operations: list[dict[str, str]] = [_test("/metadata/resourceVersion", configuration.version)]
        for webhook in stale:
            operations.append(_test(f"/webhooks/{webhook.index}/name", webhook.name))
            path = f"/webhooks/{webhook.index}/clientConfig/caBundle"
            operations.append({"op": "add", "path": path, "value": _base64(bundle.pem)})
        doing = f"writing the caBundle of {configuration.kind} {configuration.name}"
        status, body = await self._api.request(
            "PATCH", _path(configuration.kind, configuration.name), msgspec.json.encode(operations), JSON_PATCH
        )
        # A `test` that fails is answered with 422.
        if status in (404, 409, 422):
            raise ConflictError(f"{doing}: it has changed since it was read")
        if status != 200:
            raise problem(status, body, doing=doing)
        return True

    async def inject(self, bundle: Callable[[], Awaitable[Bundle]], *, attempts: int = 5) -> int:
        """Brings every webhook up to date with a bundle that comes from elsewhere, such as cert-manager's.

        Args:
            bundle: Gives the bundle; asked after each read of the configurations, so that an old one never
                overwrites a newer one.
            attempts: How often to read again after somebody else wrote in between.

        Returns:
            How many configurations were written.

        Raises:
            ConflictError: Others wrote in between every time.
            CertificateError: As `observe` and `publish`.
        """
        written = 0
        conflict: CertificateError | None = None
        for _ in range(attempts):
            conflict = None
            configurations = await self.observe()
            wanted = await bundle()
            for configuration in configurations:
                try:
                    written += await self.publish(wanted, configuration)
                except ConflictError as error:
                    conflict = error
            if conflict is None:
                return written
        raise ConflictError(f"{conflict}; {attempts} times in a row")

    async def _read(self, kind: Kind, name: str) -> list[PublishedConfiguration]:
        doing = f"reading {kind} {name}"
        status, body = await self._api.get(_path(kind, name))
        if status == 404:
            return []
        if status != 200:
            raise problem(status, body, doing=doing)
        return [self._published(kind, decode_answer(body, _Configuration, doing=doing))]

    async def _select(self, kind: Kind) -> list[PublishedConfiguration]:
        doing = f"listing {kind}"
        selector = quote(self._target.label_selector, safe="")
        status, body = await self._api.get(f"{_GROUP}/{kind}?labelSelector={selector}")
        if status != 200:
            raise problem(status, body, doing=doing)
        return [self._published(kind, item) for item in decode_answer(body, _List, doing=doing).items]

    def _published(self, kind: Kind, configuration: _Configuration) -> PublishedConfiguration:
        webhooks = tuple(
            _webhook(index, webhook)
            for index, webhook in enumerate(configuration.webhooks or ())
            if self._is_ours(webhook.client_config)
        )
        return PublishedConfiguration(
            kind, configuration.metadata.name, configuration.metadata.resource_version, webhooks
        )

    def _is_ours(self, client: _ClientConfig) -> bool:
        if client.service:
            return (client.service.namespace, client.service.name) == (self._target.namespace, self._target.service)
        return bool(self._target.url_prefix) and (client.url or "").startswith(self._target.url_prefix)


def _webhook(index: int, webhook: _Webhook) -> PublishedWebhook:
    pem = webhook.client_config.ca_bundle or b""
    try:
        bundle = parse_bundle(pem, what="caBundle")
    except PemError:
        bundle = Bundle()
    return PublishedWebhook(index, webhook.name, bundle)


def _path(kind: Kind, name: str) -> str:
    return f"{_GROUP}/{kind}/{quote(name, safe='')}"


def _test(path: str, value: str) -> dict[str, str]:
    return {"op": "test", "path": path, "value": value}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
