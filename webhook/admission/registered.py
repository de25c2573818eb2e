"""How the webhook configurations on an API server differ from those that are rendered from the settings. Pure.

What counts is everything that decides which requests are sent where, and what a failed call means. What does not count:

- `caBundle`, which is injected;
- labels and annotations of a configuration, and webhooks of others in it;
- `timeoutSeconds`, which an administrator may choose;
- further terms of a selector, and further values of a `NotIn`: an administrator, or the cluster's provider, may exclude
  more namespaces and objects;
- further `admissionReviewVersions`, the order of lists, and defaults that the API server fills in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from webhook.admission.registration import DOMAIN

Json: TypeAlias = Mapping[str, Any]
_Term: TypeAlias = tuple[str, str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        configuration: Kind and name of the configuration.
        webhook: Name of the webhook.
        what: The field that differs, or that the webhook is missing or not known.
    """

    configuration: str
    webhook: str
    what: str

    def __str__(self) -> str:
        """Return the difference as a part of a sentence."""
        return f"{self.webhook} in {self.configuration}: {self.what}"


def differences(rendered: Iterable[Json], live: Sequence[Json]) -> tuple[Difference, ...]:
    """Return how live configurations differ from rendered ones.

    Args:
        rendered: The configurations that the settings lead to, one of a kind.
        live: Those of the names in the settings, as far as they exist. A webhook may be in any of its kind.
    """
    found: list[Difference] = []
    for configuration in rendered:
        kind = str(configuration["kind"])
        there = {
            str(webhook.get("name")): (title, webhook)
            for title, webhook in _webhooks(other for other in live if other.get("kind") == kind)
        }
        for title, webhook in _webhooks([configuration]):
            where, other = there.pop(str(webhook["name"]), (title, None))
            if other is None:
                found.append(Difference(where, str(webhook["name"]), "is missing"))
            else:
                fields = (field for field, same in _FIELDS.items() if not same(webhook, other))
                found += [Difference(where, str(webhook["name"]), f"{field} differs") for field in fields]
        found += [
            Difference(where, name, "is registered, but not wanted by the settings")
            for name, (where, _) in there.items()
            if name.endswith(f".{DOMAIN}")
        ]
    return tuple(found)


def _webhooks(configurations: Iterable[Json]) -> Iterator[tuple[str, Json]]:
    for configuration in configurations:
        title = f"{configuration['kind']} {configuration['metadata']['name']}"
        for webhook in configuration.get("webhooks") or ():
            yield title, webhook


def _client_config(webhook: Json) -> object:
    config = webhook.get("clientConfig") or {}
    service = config.get("service")
    if not service:
        return config.get("url")
    return service.get("namespace"), service.get("name"), service.get("path") or "/", service.get("port") or 443


def _rules(webhook: Json) -> object:
    return sorted(
        (
            *(sorted(rule.get(part) or ()) for part in ("apiGroups", "apiVersions", "operations", "resources")),
            rule.get("scope") or "*",
        )
        for rule in webhook.get("rules") or ()
    )


def _conditions(webhook: Json) -> object:
    return {condition["name"]: condition["expression"] for condition in webhook.get("matchConditions") or ()}


def _equal(read: Callable[[Json], object]) -> Callable[[Json, Json], bool]:
    return lambda one, other: read(one) == read(other)


def _value(name: str, default: str) -> Callable[[Json], object]:
    return lambda webhook: webhook.get(name) or default


def _includes(name: str) -> Callable[[Json, Json], bool]:
    return lambda wanted, live: set(wanted.get(name) or ()) <= set(live.get(name) or ())


def _selects_no_more(name: str) -> Callable[[Json, Json], bool]:
    """Return whether each term that is wanted is there, so that nothing is sent that should not be."""

    def check(wanted: Json, live: Json) -> bool:
        there = tuple(_terms(live.get(name) or {}))
        return all(any(_implies(other, term) for other in there) for term in _terms(wanted.get(name) or {}))

    return check


def _terms(selector: Json) -> Iterator[_Term]:
    for label, value in (selector.get("matchLabels") or {}).items():
        yield str(label), "In", frozenset({str(value)})
    for term in selector.get("matchExpressions") or ():
        yield str(term["key"]), str(term["operator"]), frozenset(map(str, term.get("values") or ()))


def _implies(live: _Term, wanted: _Term) -> bool:
    if live[:2] != wanted[:2]:
        return False
    return live[2] >= wanted[2] if wanted[1] == "NotIn" else live[2] == wanted[2]


#: Whether a live webhook is as rendered, by field; in the order in which differences are shown.
_FIELDS: Final[Mapping[str, Callable[[Json, Json], bool]]] = {
    "clientConfig": _equal(_client_config),
    "rules": _equal(_rules),
    "matchConditions": _equal(_conditions),
    "namespaceSelector": _selects_no_more("namespaceSelector"),
    "objectSelector": _selects_no_more("objectSelector"),
    "failurePolicy": _equal(_value("failurePolicy", "Fail")),
    "sideEffects": _equal(_value("sideEffects", "")),
    "matchPolicy": _equal(_value("matchPolicy", "Equivalent")),
    "reinvocationPolicy": _equal(_value("reinvocationPolicy", "Never")),
    "admissionReviewVersions": _includes("admissionReviewVersions"),
}
