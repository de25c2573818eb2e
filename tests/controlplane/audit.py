"""The API server's own record of who did what: the witness that tests question."""

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
    """Who asked."""

    username: str = ""
    groups: tuple[str, ...] = ()


class AuditObject(msgspec.Struct, frozen=True, rename="camel"):
    """What was asked for; `name` is empty for a list, and for a create whose name the server makes."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    api_group: str = ""
    subresource: str = ""


class AuditStatus(msgspec.Struct, frozen=True):
    """What was answered."""

    code: int = 0
    reason: str = ""
    message: str = ""


class AuditEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One request, recorded when it was answered, or for a watch also when it began.

    Attributes:
        request_received_timestamp: RFC 3339 with microseconds, UTC.
        annotations: With those of webhooks, prefixed by the webhook's name.
        request_object: JSON; empty but at the levels REQUEST and REQUEST_RESPONSE.
        response_object: JSON; empty but at the level REQUEST_RESPONSE.
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
    """The file of JSON lines that the API server appends to before it answers."""

    path: Path

    def offset(self) -> int:
        """Return the size in bytes so far, from which `events` can read on later."""
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
        """Iterate over what was recorded, oldest first; a line that is being written is left for the next time.

        Args:
            since: The offset to start from.
            user: Only requests of this user, such as `system:serviceaccount:default:robot`.
            verb: Only this verb, such as `create`, `patch` or `watch`.
            resource: Only this resource in the plural; with a `/`, only its subresource, such as `pods/status`.
            namespace: Only objects in this namespace.
        """
        wanted, _, subresource = (resource or "").partition("/")
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
                    and wanted in {"", event.object_ref.resource}
                    and subresource in {"", event.object_ref.subresource}
                    and namespace in {None, event.object_ref.namespace}
                ):
                    yield event


def audit_policy(level: AuditLevel) -> dict[str, object]:
    """Return the policy: what may hold secrets is recorded as metadata only, and nothing when it is merely received."""
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
