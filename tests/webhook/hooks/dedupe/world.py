"""A cluster's storage in memory, for tests of orders of events that a real one cannot be told to produce."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec

from webhook.admission.deadline import Deadline
from webhook.clients.api import Reply
from webhook.errors import KubernetesError
from webhook.hooks.dedupe.core.label import LABEL, label_value
from webhook.hooks.dedupe.core.run import Metadata, OrchestrationRef, OrchestrationRun, Spec, Status

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
    """Make a run as the API server would show it to a validating webhook."""
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
        runs: What is stored.
        down: Whether no call is answered.
        before_read: Called before each read, for tests that let something happen just then.
    """

    runs: dict[str, OrchestrationRun] = field(default_factory=dict)
    down: bool = False
    before_read: Callable[[], None] = lambda: None

    def store(self, run: OrchestrationRun) -> bool:
        """Store a run as a create does: only if the name is free."""
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
        accept: str = "application/json",  # noqa: ARG002 - the protocol's
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
        _, _, wanted = (query or {}).get("labelSelector", "").partition("=")
        items = [
            run
            for run in self.runs.values()
            if not wanted or (run.metadata and (run.metadata.labels or {}).get(LABEL) == wanted)
        ]
        return Reply(200, msgspec.json.encode({"items": items, "metadata": {}}))

    async def send(
        self,
        method: str,  # noqa: ARG002 - the protocol's
        path: str,  # noqa: ARG002 - the protocol's
        body: bytes | None,  # noqa: ARG002 - the protocol's
        deadline: Deadline,  # noqa: ARG002 - the protocol's
        *,
        query: Mapping[str, str] | None = None,  # noqa: ARG002 - the protocol's
        content_type: str = "application/json",  # noqa: ARG002 - the protocol's
    ) -> Reply:
        """Deduplication writes nothing to the API server."""
        raise AssertionError("deduplication does not write to the API server")
