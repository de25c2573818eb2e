"""The names of the annotations that rollonce reads and writes, and the annotation key of each source.

An annotation key has at most one slash, and at most 63 characters after it.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/#syntax-and-character-set
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

PREFIX: Final = "rollout-checksums.proompteng.ai/"
#: On the workload, by its author: which Secrets and ConfigMaps its pods depend on.
SECRETS: Final = PREFIX + "secrets"
CONFIG_MAPS: Final = PREFIX + "configmaps"
#: On the workload, by its author: `false` opts it out of everything, the operator's list included.
ENABLED: Final = PREFIX + "enabled"
#: On the workload, by rollonce: the checksum keys that it wrote to the pod template.
MANAGED: Final = PREFIX + "managed"
#: On the workload, by rollonce: why it is kept paused.
HELD: Final = PREFIX + "held"

#: On the workload, by `rollonce checksums resume`: the rollout that failed and stops no other workload.
RESUMED: Final = PREFIX + "resumed"
#: On the workload, by the controller: since when its rollout makes no progress, and what it has written last.
PROGRESS: Final = PREFIX + "progress"
ROLLED: Final = PREFIX + "rolled"
#: On a Deployment, by the Deployment controller: the number of its pod template. `metadata.generation` cannot be used
#: instead, because for a Deployment it also counts changes of annotations.
REVISION: Final = "deployment.kubernetes.io/revision"

CHECKSUM_PREFIX: Final = "checksum/"
KEY_NAME_LIMIT: Final = 63
_HASH_LENGTH: Final = 10

#: Names of Secrets and ConfigMaps: RFC 1123 subdomains of at most 253 characters.
#: Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY_NAME: Final = re.compile(r"(?:secret|configmap)\.[a-z0-9]([-.a-z0-9]*[a-z0-9])?")


class SourceKind(Enum):
    """The kinds of objects that have checksums; the value is the word in the annotation key."""

    SECRET = "secret"  # noqa: S105 - the name of a kind, not a password
    CONFIG_MAP = "configmap"

    @property
    def plural(self) -> str:
        """The resource's name in API paths, which is also the word in the opt-in annotations."""
        return self.value + "s"

    @property
    def title(self) -> str:
        """The kind as the API writes it."""
        return "Secret" if self is SourceKind.SECRET else "ConfigMap"


@dataclass(frozen=True, slots=True)
class Source:
    """A Secret or ConfigMap in the namespace of a workload.

    Attributes:
        kind: Secret or ConfigMap.
        name: Its `metadata.name`.
    """

    kind: SourceKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value}/{self.name}"

    @property
    def order(self) -> tuple[str, str]:
        """The sort key: kind, then name."""
        return (self.kind.value, self.name)

    @property
    def key(self) -> str:
        """The annotation key of its checksum, `checksum/secret.<name>` or `checksum/configmap.<name>`.

        Where that would be too long: as much of the name as fits, a `-`, and the first 10 hex digits of the name's
        SHA-256.
        """
        stem = f"{self.kind.value}."
        room = KEY_NAME_LIMIT - len(stem)
        name = self.name
        if len(name) > room:
            digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
            name = f"{name[: room - _HASH_LENGTH - 1]}-{digest}"
        return CHECKSUM_PREFIX + stem + name


#: A source and the namespace that it is in.
NamespacedSource: TypeAlias = tuple[str, Source]


def is_legal_name(name: str) -> bool:
    """Return whether a Secret or ConfigMap can have this name."""
    return len(name) <= 253 and _SUBDOMAIN.fullmatch(name) is not None


def is_checksum_key(key: str) -> bool:
    """Return whether an annotation key has the form of those that rollonce writes to a pod template."""
    name = key.removeprefix(CHECKSUM_PREFIX)
    return name != key and len(name) <= KEY_NAME_LIMIT and _KEY_NAME.fullmatch(name) is not None


def parse_managed(text: str | None) -> frozenset[str]:
    """Parse the list of keys that rollonce wrote; anything that is not such a key is left out.

    The annotation can be edited by anyone who can edit the workload. If other keys were accepted, opting out could
    remove an annotation of another program.
    """
    return frozenset(key for part in (text or "").split(",") if is_checksum_key(key := part.strip()))


def format_managed(keys: Iterable[str]) -> str:
    """Return the list of keys in the form that `parse_managed` reads."""
    return ",".join(sorted(keys))
