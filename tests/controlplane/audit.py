"""The audit log of the API server: which user made which request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec


class AuditLevel(StrEnum):
    """How much of each request is recorded (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Level)."""

    METADATA = "Metadata"
    REQUEST = "Request"
    REQUEST_RESPONSE = "RequestResponse"


class AuditUser(msgspec.Struct, frozen=True):
    """The user of a request."""

    username: str = ""
    groups: tuple[str, ...] = ()


class AuditObject(msgspec.Struct, frozen=True, rename="camel"):
    """The object of a request; `name` is empty for a list, and for a create with a generated name."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = ""
    subresource: str = ""


class AuditStatus(msgspec.Struct, frozen=True):
    """The response to a request."""

    code: int = 0
    reason: str = ""
    message: str = ""


class AuditEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One request, recorded at its response; a watch is also recorded at its start.

    Attributes:
        request_received_timestamp: RFC 3339 with microseconds, UTC.
        annotations: Also those of webhooks, prefixed by the webhook's name.
        request_object: JSON; only at the levels REQUEST and REQUEST_RESPONSE.
        response_object: JSON; only at the level REQUEST_RESPONSE.
    """

    audit_id: str = msgspec.field(name="auditID")
    stage: str
    verb: str
    user: AuditUser
    request_uri: str = msgspec.field(name="requestURI")
    request_received_timestamp: str = ""
    stage_timestamp: str = ""
    user_agent: str = ""
    object_ref: AuditObject = AuditObject()
    response_status: AuditStatus = AuditStatus()
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    request_object: msgspec.Raw = msgspec.Raw()
    response_object: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The file of JSON lines to which the API server appends before it responds."""

    path: Path

    def offset(self) -> int:
        """Return the present size in bytes, from which `events` can read later."""
        return self.path.stat().st_size if self.path.exists() else 0

    def events(
        self,
        *,
        since: int = 0,
        user: str | None = None,
        verb: str | None = None,
        resource: str | None = None,
        namespace: str | None = None,
    ) -> Iterator[AuditEvent]:
        """Yield the recorded requests, oldest first; an incomplete last line is not read.

        Args:
            since: Offset to start from.
            user: Only requests of this user, such as `system:serviceaccount:default:robot`.
            verb: Only this verb, such as `create`, `patch` or `watch`.
            resource: Only this resource in the plural; with a `/`, only its subresource, such as `pods/status`.
            namespace: Only objects in this namespace.
        """
        plural, _, subresource = (resource or "").partition("/")
        decoder = msgspec.json.Decoder(AuditEvent)
        with self.path.open("rb") as file:
            file.seek(since)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                event = decoder.decode(line)
                if (
                    user in {None, event.user.username}
                    and verb in {None, event.verb}
                    and plural in {"", event.object_ref.resource}
                    and subresource in {"", event.object_ref.subresource}
                    and namespace in {None, event.object_ref.namespace}
                ):
                    yield event


def audit_policy(level: AuditLevel) -> dict[str, object]:
    """Return a policy that records objects that can be confidential as metadata only, and no stage RequestReceived."""
    confidential = [
        {"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]},
        {"group": "authentication.k8s.io"},
    ]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": AuditLevel.METADATA, "resources": confidential}, {"level": level}],
    }
