"""The operator's list in the settings file, which is read again when the file changes: no restart is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from webhook.config import read_file
from webhook.errors import ConfigurationError
from webhook.hooks.checksums.core.keys import Source, SourceKind, is_legal_name
from webhook.hooks.checksums.core.optin import OperatorPolicy, is_checksum
from webhook.log import Logger

#: The part of the file that the list stands in, beside plain settings.
SECTION: Final = "rolloutChecksums"
_LISTS: Final = {"secrets": SourceKind.SECRET, "configMaps": SourceKind.CONFIG_MAP}
_NAMESPACES: Final = "namespaces"
_ENABLED: Final = "enabled"
#: The keys of the list, as the settings file names them.
STRUCTURED: Final = frozenset(f"{SECTION}.{key}" for key in (_ENABLED, _NAMESPACES, *_LISTS))

#: A mounted ConfigMap takes up to a minute to change; looking at a file costs nothing.
LOOK_SECONDS: Final = 1.0


def parse_operator(file: Mapping[str, Any], *, default_namespace: str) -> OperatorPolicy:
    """Read the operator's list.

    Args:
        file: The settings file, as nested maps.
        default_namespace: Where the list counts if it names no namespaces; empty for nowhere.

    Raises:
        ConfigurationError: Something in it cannot be followed; the message names it.
    """
    section = file.get(SECTION) or {}
    if not isinstance(section, Mapping):
        raise ConfigurationError(f"{SECTION} has to be a map.")
    enabled = section.get(_ENABLED, False)
    if not isinstance(enabled, bool):
        raise ConfigurationError(f"{SECTION}.{_ENABLED} has to be true or false.")
    namespaces = frozenset(_namespaces(section))
    sources: dict[Source, str | None] = {}
    for key, kind in _LISTS.items():
        for source, given in _entries(section.get(key), kind, f"{SECTION}.{key}"):
            if sources.setdefault(source, given) != given:
                raise ConfigurationError(f"{SECTION}.{key} names {source.name} twice, with different checksums.")
    namespaces = namespaces or frozenset({default_namespace} - {""})
    if enabled and not namespaces:
        raise ConfigurationError(f"{SECTION}.{_NAMESPACES} is needed, since our own namespace is not known.")
    return OperatorPolicy(enabled, namespaces, MappingProxyType(sources))


class OperatorFile:
    """The list, as the file has it now.

    Args:
        path: The settings file; None if there is none, and then no list either.
        default_namespace: As for `parse_operator`.
        log: Told of changes, and of changes that cannot be followed.

    Attributes:
        policy: The last list that could be read.

    Raises:
        ConfigurationError: The first one cannot.
    """

    def __init__(self, path: Path | None, *, default_namespace: str, log: Logger) -> None:
        self._path = path
        self._default = default_namespace
        self._log = log
        self._mark = _mark_of(path)
        self.policy = OperatorPolicy() if path is None else self._read(path)

    def look(self) -> bool:
        """Read the file again if it has changed, and return whether the list has."""
        if self._path is None or (mark := _mark_of(self._path)) == self._mark:
            return False
        self._mark = mark
        try:
            policy = self._read(self._path)
        except ConfigurationError as error:
            self._log.error("The settings file cannot be followed; the last operator's list stays.", problem=str(error))
            return False
        if policy == self.policy:
            return False
        self.policy = policy
        self._log.info("The operator's list has changed.", enabled=policy.enabled, namespaces=sorted(policy.namespaces))
        return True

    async def follow(self, changed: Callable[[], None] = lambda: None) -> None:
        """Look now and then, until cancelled.

        Args:
            changed: Called after each change of the list.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.look():
                changed()

    def _read(self, path: Path) -> OperatorPolicy:
        try:
            return parse_operator(read_file(path), default_namespace=self._default)
        except ConfigurationError as error:
            raise ConfigurationError(f"file {path}: {error}") from None


def _namespaces(section: Mapping[str, Any]) -> Iterator[str]:
    listed = section.get(_NAMESPACES) or []
    if not isinstance(listed, list):
        raise ConfigurationError(f"{SECTION}.{_NAMESPACES} has to be a list of names.")
    for name in listed:
        if not isinstance(name, str) or not is_legal_name(name):
            raise ConfigurationError(f"{SECTION}.{_NAMESPACES}: {str(name)!r} is not a name that a namespace can have.")
        yield name


def _entries(listed: object, kind: SourceKind, where: str) -> Iterator[tuple[Source, str | None]]:
    if not isinstance(listed or [], list):
        raise ConfigurationError(f"{where} has to be a list; an entry is a name, or a map of name and checksum.")
    for entry in listed if isinstance(listed, list) else ():
        name, given = (entry.get("name"), entry.get("checksum")) if isinstance(entry, Mapping) else (entry, None)
        if isinstance(entry, Mapping) and (unknown := entry.keys() - {"name", "checksum"}):
            raise ConfigurationError(f"{where}: there is no {min(map(str, unknown))}, only name and checksum.")
        if not isinstance(name, str) or not is_legal_name(name):
            raise ConfigurationError(f"{where}: {str(name)!r} is not a name that a {kind.title} can have.")
        # A chart's values give an empty text where nothing is provided.
        if given not in {None, ""} and not (isinstance(given, str) and is_checksum(given)):
            raise ConfigurationError(f"{where}: the checksum of {name} has to be 64 lower case hex digits, in quotes.")
        yield Source(kind, name), given or None


def _mark_of(path: Path | None) -> tuple[int, int, int] | None:
    """Tell one state of a file from another; a mounted ConfigMap changes by being another file."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
