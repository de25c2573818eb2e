"""The API server's storage in memory, for orders of events that a real one cannot be made to produce."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec

from webhook.dedupe.core.identity import LABEL, label_value
from webhook.dedupe.core.run import Metadata, OrchestrationRef, OrchestrationRun, Spec, Status
from webhook.errors import KubernetesError
from webhook.kube.api import Reply
from webhook.runtime.deadline import Deadline

NAMESPACE = "shop"


def make_run(
    name: str = "",
    *,
    uid: str = "",
    ref: str = "nightly",
    delivery_id: str | None = "d-1",
    created: float = 0.0,
    phase: str = "",
    generate_name: str | None = None,
    parameters: bytes = b"{}",
    namespace: str = NAMESPACE,
) -> OrchestrationRun:
    """Return a run as the API server sends it to a validating webhook."""
    return OrchestrationRun(
        metadata=Metadata(
            name=name or None,
            generate_name=generate_name,
            namespace=namespace,
            uid=uid or None,
            labels={LABEL: label_value(delivery_id)} if delivery_id and delivery_id.strip() else None,
            creation_timestamp=datetime.fromtimestamp(int(created), UTC) if created else None,
        ),
        spec=Spec(orchestration_ref=OrchestrationRef(ref), delivery_id=delivery_id, parameters=msgspec.Raw(parameters)),
        status=Status(phase=phase or None),
    )


@dataclass
class Storage:
    """Runs by name, in one namespace, read through the paths that the real API server has.

    Attributes:
        runs: The stored runs.
        down: Whether no call is answered.
        before_read: Called before each read.
    """

    runs: dict[str, OrchestrationRun] = field(default_factory=dict)
    down: bool = False
    before_read: Callable[[], None] = lambda: None

    def store(self, run: OrchestrationRun) -> bool:
        """Store a run as a create does, if no run has its name; returns whether it was stored."""
        if run.name in self.runs:
            return False
        self.runs[run.name] = run
        return True

    async def get(
        self,
        path: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",  # noqa: ARG002 - as in the protocol
    ) -> Reply:
        """Answer a GET of one run or a LIST."""
        deadline.require()
        self.before_read()
        if self.down:
            raise KubernetesError("The API server cannot be reached.")
        _, _, tail = path.partition("/orchestrationruns")
        if tail:
            name = unquote(tail[1:])
            if name in self.runs:
                return Reply(200, msgspec.json.encode(self.runs[name]))
            return Reply(404, msgspec.json.encode({"reason": "NotFound", "details": {"name": name}}))
        _, _, label = (query or {}).get("labelSelector", "").partition("=")
        items = [run for run in self.runs.values() if not label or (run.labels or {}).get(LABEL) == label]
        return Reply(200, msgspec.json.encode({"items": items, "metadata": {}}))

    async def send(
        self,
        method: str,  # noqa: ARG002 - as in the protocol
        path: str,  # noqa: ARG002 - as in the protocol
        body: bytes | None,  # noqa: ARG002 - as in the protocol
        deadline: Deadline,  # noqa: ARG002 - as in the protocol
        *,
        query: Mapping[str, str] | None = None,  # noqa: ARG002 - as in the protocol
        content_type: str = "application/json",  # noqa: ARG002 - as in the protocol
    ) -> Reply:
        """Fail: deduplication writes nothing to the API server."""
        raise AssertionError("deduplication does not write to the API server")
