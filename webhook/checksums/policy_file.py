"""The operator's list in the settings file; it is read again when the file changes, without a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from webhook.checksums.core.keys import Source, SourceKind, is_legal_name
from webhook.checksums.core.optin import OperatorPolicy, is_checksum
from webhook.errors import ConfigurationError
from webhook.runtime.clock import Clock
from webhook.runtime.log import Logger
from webhook.runtime.settings import Settings, read_file

#: The section of the file that contains the list, beside plain settings.
SECTION: Final = "rolloutChecksums"
_LISTS: Final = {"secrets": SourceKind.SECRET, "configMaps": SourceKind.CONFIG_MAP}
_NAMESPACES: Final = "namespaces"
_ENABLED: Final = "enabled"
#: The keys of the list, as the settings file names them.
STRUCTURED: Final = frozenset(f"{SECTION}.{key}" for key in (_ENABLED, _NAMESPACES, *_LISTS))

#: How often the file is checked; a mounted ConfigMap takes up to a minute to change.
CHECK_SECONDS: Final = 1.0


def parse_policy(file: Mapping[str, Any], *, default_namespace: str) -> OperatorPolicy:
    """Parse the operator's list.

    Args:
        file: The settings file, as nested maps.
        default_namespace: The namespace that the list applies to if it names none; empty for none.

    Raises:
        ConfigurationError: The list is invalid; the message names the wrong part.
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


def policy_of(settings: Settings, *, default_namespace: str) -> OperatorPolicy:
    """Return the operator's list as the settings file has it now; an empty one if there is no file.

    Raises:
        ConfigurationError: It is invalid.
    """
    return OperatorPolicy() if settings.file is None else _read(settings.file, default_namespace)


class PolicyFile:
    """The operator's list as the settings file has it now.

    Args:
        path: The settings file; None if there is none, and then the list is empty.
        default_namespace: As for `parse_policy`.
        clock: Sleep.
        log: Receives changes, and changes that are invalid.

    Attributes:
        policy: The last valid list.

    Raises:
        ConfigurationError: The list is invalid at the start.
    """

    def __init__(self, path: Path | None, *, default_namespace: str, clock: Clock, log: Logger) -> None:
        self._path = path
        self._default_namespace = default_namespace
        self._clock = clock
        self._log = log
        self._state = _state_of(path)
        self.policy = OperatorPolicy() if path is None else _read(path, default_namespace)

    def check(self) -> bool:
        """Read the file again if it has changed, and return whether the list has changed."""
        if self._path is None or (state := _state_of(self._path)) == self._state:
            return False
        self._state = state
        try:
            policy = _read(self._path, self._default_namespace)
        except ConfigurationError as error:
            self._log.error("settings file is invalid, keeping the last operator list", problem=str(error))
            return False
        if policy == self.policy:
            return False
        self.policy = policy
        self._log.info("operator list changed", enabled=policy.enabled, namespaces=sorted(policy.namespaces))
        return True

    async def follow(self, changed: Callable[[], None]) -> None:
        """Check the file again and again until cancelled.

        Args:
            changed: Called after each change of the list.
        """
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            if self.check():
                changed()


def _read(path: Path, default_namespace: str) -> OperatorPolicy:
    try:
        return parse_policy(read_file(path), default_namespace=default_namespace)
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
        # The values of a chart have an empty text where no checksum is provided.
        if given not in {None, ""} and not (isinstance(given, str) and is_checksum(given)):
            raise ConfigurationError(f"{where}: the checksum of {name} has to be 64 lower case hex digits, in quotes.")
        yield Source(kind, name), given or None


def _state_of(path: Path | None) -> tuple[int, int, int] | None:
    """Return what differs between two states of a file; a mounted ConfigMap changes by becoming another file."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
