"""Which kind of object is deduplicated, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """A namespaced custom resource.

    Attributes:
        group: The API group.
        version: The served version that is read.
        plural: As in URLs.
        kind: As in manifests and answers.
    """

    group: str
    version: str
    plural: str
    kind: str

    def collection(self, namespace: str = "") -> str:
        """The path of all objects in a namespace, or in all namespaces if none is given."""
        within = f"namespaces/{quote(namespace, safe='')}/" if namespace else ""
        return f"/apis/{self.group}/{self.version}/{within}{self.plural}"

    def item(self, namespace: str, name: str) -> str:
        """The path of one object."""
        return f"{self.collection(namespace)}/{quote(name, safe='')}"


ORCHESTRATION_RUNS: Final = Resource("orchestration.proompteng.ai", "v1alpha1", "orchestrationruns", "OrchestrationRun")
