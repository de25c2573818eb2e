"""The settings of checksums, and their checked values. The operator's list is in `webhook.checksums.policy_file`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from webhook.checksums.core.inputs import MissingPolicy, Rules
from webhook.checksums.core.optin import OperatorPolicy
from webhook.checksums.core.pace import Pace
from webhook.checksums.policy_file import PolicyFile
from webhook.errors import ConfigurationError, KubernetesError
from webhook.kube.api import KubernetesApi
from webhook.kube.rbac import Access
from webhook.runtime import parsers
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger
from webhook.runtime.options import own_namespace, required_file
from webhook.runtime.settings import Setting, Settings

MISSING = Setting(
    "rolloutChecksums.missing",
    parsers.choice(MissingPolicy),
    "warn",
    "What happens to a workload whose Secret or ConfigMap does not exist: warn, deny, or hold (a new Deployment is "
    "paused until it does).",
)
MAX_CONCURRENT = Setting(
    "rolloutChecksums.maxConcurrent",
    parsers.integer_between(0, 100_000),
    "0",
    "How many workloads of a namespace may roll at a time because of one object; 0 means no limit.",
)
KEY_FILE = Setting(
    "rolloutChecksums.keyFile",
    parsers.optional_path,
    "",
    "File with a key of 16 bytes or more: checksums become HMAC-SHA256, against which guesses cannot be verified.",
)
KEY_SECRET = Setting(
    "rolloutChecksums.keySecret",
    parsers.secret_entry,
    "",
    "Instead of a file: NAME/KEY of a Secret in the namespace of this installation.",
)
ACCESS = Setting(
    "rolloutChecksums.access",
    parsers.choice(Access),
    "namespaces",
    "What the controller watches: names (listed objects of listed namespaces), namespaces (all of listed ones) or "
    "cluster (all).",
)
WATCH_NAMESPACES = Setting(
    "rolloutChecksums.watchNamespaces",
    parsers.dns_labels,
    "",
    "Namespaces that the controller watches; by default that of this installation. Not with access cluster.",
)
WATCH_SECRETS = Setting(
    "rolloutChecksums.watchSecrets", parsers.object_names, "", "With access names: the Secrets that are watched."
)
WATCH_CONFIG_MAPS = Setting(
    "rolloutChecksums.watchConfigMaps", parsers.object_names, "", "With access names: the ConfigMaps that are watched."
)
SETTLE = Setting(
    "rolloutChecksums.settle",
    parsers.duration_between(0, 3600),
    "200ms",
    "How long the controller waits after a change for further changes, to make one rollout of all.",
)
SETTLE_CEILING = Setting(
    "rolloutChecksums.settleCeiling",
    parsers.duration_between(0, 3600),
    "2s",
    "How long it waits at most, for any number of further changes.",
)
BACKOFF = Setting(
    "rolloutChecksums.backoff",
    parsers.duration_between(0, 3600),
    "5s",
    "The shortest time between two rollouts of a workload; doubled each time that changes go on.",
)
BACKOFF_LIMIT = Setting(
    "rolloutChecksums.backoffLimit", parsers.duration_between(0, 86_400), "5m", "The longest time between two rollouts."
)

PROGRESS_DEADLINE = Setting(
    "rolloutChecksums.progressDeadline",
    parsers.duration_between(1, 86_400),
    "10m",
    "With maxConcurrent: how long a rollout without a deadline of its own (StatefulSets, DaemonSets) may make no "
    "progress until it counts as failed.",
)

#: The settings on which the server and the controller must agree.
SHARED: Final[tuple[Setting[Any], ...]] = (MISSING, MAX_CONCURRENT, KEY_FILE, KEY_SECRET)
SCOPE: Final[tuple[Setting[Any], ...]] = (ACCESS, WATCH_NAMESPACES, WATCH_SECRETS, WATCH_CONFIG_MAPS)
PACE: Final[tuple[Setting[Any], ...]] = (SETTLE, SETTLE_CEILING, BACKOFF, BACKOFF_LIMIT)
CONTROLLER: Final = (*SHARED, PROGRESS_DEADLINE, *SCOPE, *PACE)

_KEY_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ChecksumSettings:
    """Checked settings.

    Attributes:
        missing: What happens to a write that requires an object which does not exist.
        max_concurrent: How many workloads may roll at a time because of one object; 0 means no limit.
        policy: The operator's list.
        key: Turns the checksums into HMACs; at least 16 bytes. A program whose key cannot be read must not start:
            plain checksums instead would roll every workload, and show what the key should hide.
        progress_deadline: Seconds that a rollout without a deadline of its own may make no progress.
        read_seconds: Upper bound of the time of one read; the deadline of the request can be earlier.

    Raises:
        ValueError: The key is too short, or the limit is negative.
    """

    missing: MissingPolicy = MissingPolicy.WARN
    max_concurrent: int = 0
    policy: OperatorPolicy = field(default_factory=OperatorPolicy)
    key: bytes | None = field(default=None, repr=False)
    progress_deadline: float = 600.0
    read_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Reject values that cannot work."""
        if self.key is not None and len(self.key) < 16:
            raise ValueError("the key of keyed checksums has to have at least 16 bytes")
        if self.max_concurrent < 0:
            raise ValueError("max_concurrent has to be 0 (no limit) or more")

    @property
    def rules(self) -> Rules:
        """The part that decisions need."""
        return Rules(self.missing, staged=self.max_concurrent > 0)


class LiveSettings:
    """The settings, with the operator's list as the settings file has it now.

    Args:
        fixed: What needs a restart to change.
        file: The operator's list.
    """

    def __init__(self, fixed: ChecksumSettings, file: PolicyFile) -> None:
        self._file = file
        self._current = replace(fixed, policy=file.policy)

    def current(self) -> ChecksumSettings:
        """Return the present settings."""
        if self._current.policy is not self._file.policy:
            self._current = replace(self._current, policy=self._file.policy)
        return self._current

    async def follow(self, changed: Callable[[], None] = lambda: None) -> None:
        """Check the settings file again and again until cancelled.

        Args:
            changed: Called after each change.
        """
        await self._file.follow(changed)


async def live_settings(settings: Settings, api: KubernetesApi, *, clock: Clock, log: Logger) -> LiveSettings:
    """Return the checked settings.

    Args:
        settings: The settings.
        api: The API server, for a key that is in a Secret.
        clock: Time and sleep.
        log: Receives changes of the operator's list.

    Raises:
        ConfigurationError: A setting cannot work, or the key cannot be read.
    """
    file = policy_file(settings, clock=clock, log=log)
    return LiveSettings(await checked_settings(settings, api, clock=clock, policy=file.policy), file)


async def checked_settings(
    settings: Settings, api: KubernetesApi, *, clock: Clock, policy: OperatorPolicy, key: bytes | None = None
) -> ChecksumSettings:
    """Return the checked settings, as they are now.

    Args:
        settings: The settings.
        api: The API server, for a key that is in a Secret.
        clock: Monotonic time.
        policy: The operator's list.
        key: The contents of the key's file, if they have been read.

    Raises:
        ConfigurationError: A setting cannot work, or the key cannot be read.
    """
    try:
        return ChecksumSettings(
            missing=settings[MISSING],
            max_concurrent=settings[MAX_CONCURRENT],
            policy=policy,
            key=await _key(settings, api, clock) if key is None else key,
            progress_deadline=settings[PROGRESS_DEADLINE],
        )
    except ValueError as error:
        raise ConfigurationError(f"Checksums cannot be made: {error}.") from None


def policy_file(settings: Settings, *, clock: Clock, log: Logger) -> PolicyFile:
    """Open the operator's list.

    Raises:
        ConfigurationError: It is invalid.
    """
    return PolicyFile(settings.file, default_namespace=namespace_of(settings), clock=clock, log=log)


def namespace_of(settings: Settings) -> str:
    """Return the namespace of this installation; empty if it is not known."""
    try:
        return own_namespace(settings)
    except ConfigurationError:
        return ""


def pace_of(settings: Settings) -> Pace:
    """Return how long to wait before writing.

    Raises:
        ConfigurationError: The times contradict each other.
    """
    try:
        return Pace(
            settle=settings[SETTLE],
            ceiling=settings[SETTLE_CEILING],
            backoff=settings[BACKOFF],
            backoff_limit=settings[BACKOFF_LIMIT],
        )
    except ValueError as error:
        raise ConfigurationError(f"The pace of rollouts cannot work: {error}.") from None


def offline_key(settings: Settings) -> bytes | None:
    """Return the key of keyed checksums without asking a cluster; None if there is none.

    Raises:
        ConfigurationError: It cannot be read.
    """
    if settings[KEY_FILE] is not None:
        return required_file(settings, KEY_FILE)
    if settings[KEY_SECRET]:
        given = settings.source(KEY_SECRET)
        raise ConfigurationError(f"{given}: this needs --from-cluster; or give the key by {KEY_FILE.flag}.")
    return None


async def _key(settings: Settings, api: KubernetesApi, clock: Clock) -> bytes | None:
    named = settings[KEY_SECRET]
    if settings[KEY_FILE] is not None:
        if named:
            raise ConfigurationError(f"Give either {KEY_FILE.flag} or {KEY_SECRET.flag}.")
        return required_file(settings, KEY_FILE)
    return await _secret_key(named, settings, api, clock) if named else None


class _Secret(msgspec.Struct, frozen=True):
    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        return "_Secret(…)"


async def _secret_key(named: str, settings: Settings, api: KubernetesApi, clock: Clock) -> bytes:
    name, _, entry = named.partition("/")
    where = f"{settings.source(KEY_SECRET)}: the key {named}"
    path = f"/api/v1/namespaces/{own_namespace(settings)}/secrets/{name}"
    try:
        reply = await api.get(path, clock.deadline(_KEY_SECONDS))
    except KubernetesError as error:
        raise ConfigurationError(f"{where} cannot be read: {error}") from None
    if not reply.ok:
        raise ConfigurationError(f"{where} cannot be read: the API server answered {reply.status}.")
    try:
        encoded = (msgspec.json.decode(reply.body, type=_Secret).data or {})[entry]
        return base64.b64decode(encoded, validate=True)
    except (KeyError, msgspec.DecodeError, binascii.Error):
        raise ConfigurationError(f"{where} cannot be read: the Secret has no entry {entry!r}.") from None
