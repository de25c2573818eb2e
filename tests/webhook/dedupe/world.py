"""The API server's storage in memory, for orders of events that a real one cannot be made to produce."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
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


STATE_PATH = "/api/v1/namespaces/rollonce/configmaps/rollonce-state"


@dataclass
class Storage:
    """Runs by name, in one namespace, and the state ConfigMap, reached through the paths of the real API server.

    Attributes:
        runs: The stored runs.
        state: The ConfigMap; None if it does not exist.
        down: Whether no call is answered.
        forbidden: Whether reads of runs are forbidden.
        before_read: Called before each read.
        clock: The API server's clock.
    """

    runs: dict[str, OrchestrationRun] = field(default_factory=dict)
    state: dict[str, Any] | None = None
    down: bool = False
    forbidden: bool = False
    before_read: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.time
    version: int = 0

    def __post_init__(self) -> None:
        """Install an empty state ConfigMap."""
        self.install_state()

    def install_state(self) -> None:
        """Create the state ConfigMap, without data."""
        self.version += 1
        created = datetime.fromtimestamp(int(self.clock()), UTC).isoformat()
        metadata = {"uid": str(uuid.uuid4()), "creationTimestamp": created, "resourceVersion": str(self.version)}
        self.state = {"metadata": metadata}

    def touch_state(self) -> None:
        """Note that the state ConfigMap was changed."""
        self.version += 1
        if self.state is not None:
            self.state["metadata"]["resourceVersion"] = str(self.version)

    def server_time(self) -> float:
        """Return the API server's time."""
        return self.clock()

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
        """Answer a GET of one run or of the ConfigMap, or a LIST of runs."""
        deadline.require()
        self.before_read()
        if self.down:
            raise KubernetesError("The API server cannot be reached.")
        if path == STATE_PATH:
            return Reply(404, b"{}") if self.state is None else Reply(200, msgspec.json.encode(self.state))
        if self.forbidden:
            return Reply(403, msgspec.json.encode({"reason": "Forbidden", "message": "runs are forbidden"}))
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
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,  # noqa: ARG002 - as in the protocol
        content_type: str = "application/json",  # noqa: ARG002 - as in the protocol
    ) -> Reply:
        """Answer a PUT of the ConfigMap; nothing else is written."""
        assert (method, path) == ("PUT", STATE_PATH)
        deadline.require()
        if self.down:
            raise KubernetesError("The API server cannot be reached.")
        if self.state is None:
            return Reply(404, b"{}")
        written = msgspec.json.decode(body or b"")
        if written["metadata"]["resourceVersion"] != self.state["metadata"]["resourceVersion"]:
            return Reply(409, b"{}")
        self.version += 1
        written["metadata"]["resourceVersion"] = str(self.version)
        self.state = written
        return Reply(200, msgspec.json.encode(self.state))
