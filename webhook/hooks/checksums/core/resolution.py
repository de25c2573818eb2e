"""The checksums that a workload gets, by what was found out about its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from webhook.hooks.checksums.core.case import Case
from webhook.hooks.checksums.core.facts import Absent, Found, Reading, Unreadable
from webhook.hooks.checksums.core.keys import Source


@dataclass(frozen=True, slots=True)
class Resolution:
    """The checksums of a workload, and what was noticed on the way.

    Attributes:
        checksums: By annotation key.
        missing: Required, absent, and never seen.
        disappeared: Required and absent, but seen before: the last checksum stays.
        unreadable: Each with the reason.
        waiting: Required, and not seen just now, for whatever reason.
    """

    checksums: Mapping[str, str]
    missing: tuple[Source, ...] = ()
    disappeared: tuple[Source, ...] = ()
    unreadable: tuple[tuple[Source, str], ...] = ()
    waiting: tuple[Source, ...] = ()


NO_CHECKSUMS: Final = Resolution({})


def resolve(case: Case, readings: Mapping[Source, Reading]) -> Resolution:
    """Find the checksums of a workload.

    Args:
        case: What there is to decide.
        readings: For each source of `case.to_read`, what was found.
    """
    if case.keeps_stored:
        return _as_stored(case)
    checksums: dict[str, str] = {}
    missing: list[Source] = []
    disappeared: list[Source] = []
    unreadable: list[tuple[Source, str]] = []
    waiting: list[Source] = []
    for requirement in case.requirements.wanted:
        source, key = requirement.source, requirement.source.key
        stored = case.stored(key)
        reading = Found(requirement.provided) if requirement.provided else readings[source]
        value = reading.checksum if isinstance(reading, Found) else stored
        if value is not None:
            checksums[key] = value
        if isinstance(reading, Unreadable):
            unreadable.append((source, reading.why))
        elif isinstance(reading, Absent) and not requirement.optional:
            (missing if stored is None else disappeared).append(source)
        if not (isinstance(reading, Found) or requirement.optional):
            waiting.append(source)
    return Resolution(checksums, tuple(missing), tuple(disappeared), tuple(unreadable), tuple(waiting))


def _as_stored(case: Case) -> Resolution:
    return Resolution({key: value for key in case.owned if (value := case.stored(key)) is not None})
