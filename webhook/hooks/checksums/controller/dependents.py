"""Who depends on what: the workloads that want the checksum of a Secret or ConfigMap."""

from __future__ import annotations

from collections.abc import Iterable

from webhook.hooks.checksums.controller.digests import Place
from webhook.hooks.checksums.core.keys import Source
from webhook.hooks.checksums.core.workload import WorkloadId


class Dependents:
    """An index in both directions."""

    def __init__(self) -> None:
        self._by_place: dict[Place, set[WorkloadId]] = {}
        self._by_workload: dict[WorkloadId, frozenset[Place]] = {}

    def __len__(self) -> int:
        """How many workloads want something."""
        return len(self._by_workload)

    def __contains__(self, place: Place) -> bool:
        """Whether anybody wants it."""
        return place in self._by_place

    def put(self, workload: WorkloadId, sources: Iterable[Source]) -> tuple[Place, ...]:
        """Note all that a workload wants; nothing forgets it.

        Returns:
            What nobody wants any more.
        """
        given_up: list[Place] = []
        places = frozenset((workload.namespace, source) for source in sources)
        before = self._by_workload.get(workload, frozenset())
        for place in before - places:
            self._by_place[place].discard(workload)
            if not self._by_place[place]:
                del self._by_place[place]
                given_up.append(place)
        for place in places - before:
            self._by_place.setdefault(place, set()).add(workload)
        if places:
            self._by_workload[workload] = places
        else:
            self._by_workload.pop(workload, None)
        return tuple(given_up)

    def of(self, place: Place) -> tuple[WorkloadId, ...]:
        """Return who wants something, in order."""
        return tuple(sorted(self._by_place.get(place, ())))
