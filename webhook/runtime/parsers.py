"""Parsers of settings: text to value. Each raises ValueError with a message that says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

E = TypeVar("E", bound=Enum)

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_PATH_END: Final = "\0"
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Address:
    """The address that a server listens on.

    Attributes:
        host: An IP address; empty means every interface, IPv4 and IPv6.
        port: 0 means any free port.
    """

    host: str
    port: int


def address(text: str) -> Address:
    """Parse `host:port`, `[v6]:port` or `:port`."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("give host:port with a port from 0 to 65535, such as 0.0.0.0:8443, [::1]:8443 or :8443")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("write an IPv6 address in brackets, such as [::1]:8443")
    return Address(host.strip("[]"), int(port))


def listen_address(text: str) -> Address:
    """Parse the address to listen on: as `address`, with an IP address or `localhost` as host, or none."""
    parsed = address(text)
    if parsed.host == "localhost":
        return Address("127.0.0.1", parsed.port)
    try:
        ip_address(parsed.host or "::")
    except ValueError:
        raise ValueError("give an IP address and a port, such as 0.0.0.0:8443, [::1]:8443 or :8443") from None
    return parsed


def duration_seconds(text: str) -> float:
    """Parse a duration as Go and Kubernetes write it, such as `300ms`, `5s` or `1h30m`; returns seconds."""
    seconds = 0.0
    position = 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != position:
            break
        seconds += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not text or position != len(text):
        raise ValueError("give a duration such as 300ms, 5s or 1h30m")
    return seconds


def duration_between(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of durations from `low` to `high` seconds."""

    def parse(text: str) -> float:
        seconds = duration_seconds(text)
        if not low <= seconds <= high:
            raise ValueError(f"it must be from {low:g}s to {high:g}s")
        return seconds

    return parse


def days_between(low: timedelta, high: timedelta) -> Callable[[str], timedelta]:
    """Return a parser of a number of days, fractions allowed."""

    def parse(text: str) -> timedelta:
        try:
            days = float(text)
            value = timedelta(days=days)
        except (ValueError, OverflowError):
            raise ValueError("give a number of days, such as 7 or 0.5") from None
        if not low <= value <= high:
            raise ValueError(f"it must be from {low / timedelta(days=1):.4g} to {high / timedelta(days=1):g} days")
        return value

    return parse


def integer_between(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"give a whole number from {low} to {high}")
        return int(text)

    return parse


def boolean(text: str) -> bool:
    """Parse `true` or `false`."""
    if text not in {"true", "false"}:
        raise ValueError("give true or false")
    return text == "true"


def text_value(text: str) -> str:
    """Accept any text."""
    return text


def choice(enum: type[E]) -> Callable[[str], E]:
    """Return a parser of the values of an enum."""

    def parse(text: str) -> E:
        for member in enum:
            if member.value == text:
                return member
        raise ValueError(f"give one of {', '.join(str(member.value) for member in enum)}")

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser of the given words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"give one of {', '.join(words)}")
        return text

    return parse


def words(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list; blanks around words and empty words are ignored."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def dns_labels(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of RFC 1123 labels, such as names of namespaces."""
    names = words(text)
    for name in names:
        if not _DNS_LABEL.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of lower case letters, digits and '-', at most 63 long")
    return names


def object_names(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of RFC 1123 subdomains, such as names of Secrets."""
    return tuple(object_name(name) for name in words(text))


def object_name(text: str) -> str:
    """Parse the name of an object (an RFC 1123 subdomain)."""
    if not _is_object_name(text):
        raise ValueError(f"{text!r} is not a name that an object can have (lower case letters, digits, '-', '.')")
    return text


def _is_object_name(text: str) -> bool:
    return len(text) <= 253 and _SUBDOMAIN.fullmatch(text) is not None


def object_name_or_none(text: str) -> str:
    """Parse the name of an object or an empty text."""
    return object_name(text) if text else ""


def some_object_names(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of at least one name of an object."""
    if not (names := object_names(text)):
        raise ValueError("give at least one name")
    return names


def domain(text: str) -> str:
    """Parse a DNS domain such as `cluster.local`; a dot at its end is allowed."""
    name = text.removesuffix(".")
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name) or not all(map(_DNS_LABEL.fullmatch, name.split("."))):
        raise ValueError(f"{text!r} is not a DNS name")
    return text


def host_names(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of DNS names and IP addresses."""
    names = words(text)
    for name in names:
        try:
            ip_address(name)
        except ValueError:
            domain(name)
    return names


def dns_label(text: str) -> str:
    """Parse an RFC 1123 label, such as the name of a Service."""
    if not _DNS_LABEL.fullmatch(text):
        raise ValueError("give a name of lower case letters, digits and '-', at most 63 long")
    return text


def dns_label_or_none(text: str) -> str:
    """Parse an RFC 1123 label or an empty text."""
    return dns_label(text) if text else ""


def https_url(text: str) -> str:
    """Parse `https://host:port` without a path, or an empty text."""
    allowed = "give https://host:port, without a path"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(allowed) from None
    rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username, parts.password)
    if text and (parts.scheme != "https" or not parts.hostname or port == 0 or any(rest)):
        raise ValueError(allowed)
    if re.search(r"[\s\0#?]", text):
        raise ValueError(allowed)
    return text.rstrip("/")


def secret_entry(text: str) -> str:
    """Parse `NAME/KEY` of a Secret, or an empty text."""
    name, _, key = text.partition("/")
    if text and not (_is_object_name(name) and _DATA_KEY.fullmatch(key)):
        raise ValueError("give NAME/KEY: the name of a Secret and a key of its data")
    return text


def path_text(text: str) -> str:
    """Parse a path, or several as in PATH, or an empty text."""
    if _PATH_END in text:
        raise ValueError("a path cannot contain a zero byte")
    return text


def optional_path(text: str) -> Path | None:
    """Parse a path; an empty text gives None."""
    return Path(path_text(text)) if text else None
