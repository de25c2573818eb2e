"""The settings of checksums. The operator's list is no plain setting; see `webhook.hooks.checksums.operator`."""

from __future__ import annotations

from typing import Any, Final

from webhook import values
from webhook.config import Setting
from webhook.hooks.checksums.controller.scope import Access
from webhook.hooks.checksums.core.facts import MissingPolicy

MISSING = Setting(
    "rolloutChecksums.missing",
    values.choice(MissingPolicy),
    "warn",
    "What happens to a workload whose Secret or ConfigMap does not exist: warn, deny, or hold (a new Deployment is "
    "paused until it does).",
)
MAX_CONCURRENT = Setting(
    "rolloutChecksums.maxConcurrent",
    values.integer_between(0, 100_000),
    "0",
    "How many workloads of a namespace may roll at a time because of one object; 0 means no limit.",
)
KEY_FILE = Setting(
    "rolloutChecksums.keyFile",
    values.optional_path,
    "",
    "File with a key of 16 bytes or more: checksums become HMAC-SHA256, which nobody can guess by.",
)
KEY_SECRET = Setting(
    "rolloutChecksums.keySecret",
    values.text_value,
    "",
    "Instead of a file: NAME/KEY of a Secret in our own namespace.",
)
ACCESS = Setting(
    "rolloutChecksums.access",
    values.choice(Access),
    "namespaces",
    "What the controller watches: names (listed objects of listed namespaces), namespaces (all of listed ones) or "
    "cluster (all).",
)
WATCH_NAMESPACES = Setting(
    "rolloutChecksums.watchNamespaces",
    values.dns_labels,
    "",
    "Namespaces that the controller looks after; by default our own. Not with access cluster.",
)
WATCH_SECRETS = Setting(
    "rolloutChecksums.watchSecrets", values.object_names, "", "With access names: the Secrets that are watched."
)
WATCH_CONFIG_MAPS = Setting(
    "rolloutChecksums.watchConfigMaps", values.object_names, "", "With access names: the ConfigMaps that are watched."
)
SETTLE = Setting(
    "rolloutChecksums.settle",
    values.duration_between(0, 3600),
    "200ms",
    "How long the controller waits after a change for others, to make one rollout of all.",
)
SETTLE_CEILING = Setting(
    "rolloutChecksums.settleCeiling",
    values.duration_between(0, 3600),
    "2s",
    "How long it waits at most, however many changes follow.",
)
BACKOFF = Setting(
    "rolloutChecksums.backoff",
    values.duration_between(0, 3600),
    "5s",
    "The shortest time between two rollouts of a workload; doubled each time that changes go on.",
)
BACKOFF_LIMIT = Setting(
    "rolloutChecksums.backoffLimit", values.duration_between(0, 86_400), "5m", "The longest time between two rollouts."
)

#: What the server and the controller have to agree on.
SHARED: Final[tuple[Setting[Any], ...]] = (MISSING, MAX_CONCURRENT, KEY_FILE, KEY_SECRET)
SCOPE: Final[tuple[Setting[Any], ...]] = (ACCESS, WATCH_NAMESPACES, WATCH_SECRETS, WATCH_CONFIG_MAPS)
PACE: Final[tuple[Setting[Any], ...]] = (SETTLE, SETTLE_CEILING, BACKOFF, BACKOFF_LIMIT)
CONTROLLER: Final = SHARED + SCOPE + PACE
