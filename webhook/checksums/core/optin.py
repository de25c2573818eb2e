"""Which checksums a workload should have: by its own annotations, and by the operator's list for whole namespaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from webhook.checksums.core.keys import CONFIG_MAPS, ENABLED, SECRETS, Source, SourceKind, is_legal_name
from webhook.checksums.core.podspec import references
from webhook.checksums.core.workload import Workload

#: In an opt-in annotation: everything of that kind that the pod template references.
EVERYTHING: Final = "*"
#: The annotations of a workload's author; a change of one of these is a change of the opt-in.
OPT_IN_ANNOTATIONS: Final = (SECRETS, CONFIG_MAPS, ENABLED)

#: How many objects a workload can depend on: each costs a read at each write, and all share one server.
MOST_SOURCES: Final = 100
#: How many words of a list are read: an annotation has room for thousands of words without meaning.
_MOST_WORDS: Final = 2 * MOST_SOURCES

_ANNOTATION_OF: Final = {SourceKind.SECRET: SECRETS, SourceKind.CONFIG_MAP: CONFIG_MAPS}
_CHECKSUM: Final = re.compile(r"[0-9a-f]{64}")
_SHOWN_LIMIT: Final = 60


@dataclass(frozen=True, slots=True)
class OperatorPolicy:
    """The operator's list: workloads of these namespaces that reference a listed object are opted in by it.

    Attributes:
        enabled: Whether the list is in effect.
        namespaces: The namespaces that it applies to.
        sources: The listed objects, each with the checksum that the operator provides for it, or None to read it live.
    """

    enabled: bool = False
    namespaces: frozenset[str] = frozenset()
    sources: Mapping[Source, str | None] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Problem:
    """A word of the opt-in that is not understood.

    Attributes:
        annotation: The workload's annotation that contains it; empty if it is in the pod template.
        word: The word, as it was written.
        why: What is wrong with it, as a clause: `is not a legal name …`.
        template_path: The path of the pod template's spec in the manifest, for a word without an annotation.
    """

    annotation: str
    word: str
    why: str
    template_path: str = "spec.template.spec"

    @property
    def field(self) -> str:
        """The path of the field in the manifest."""
        return f"metadata.annotations[{self.annotation}]" if self.annotation else self.template_path

    def __str__(self) -> str:
        shown = self.word if len(self.word) <= _SHOWN_LIMIT else self.word[:_SHOWN_LIMIT] + "…"
        return f'{self.annotation or "The pod template"}: "{shown}" {self.why}'


@dataclass(frozen=True, slots=True)
class Requirement:
    """A checksum that the pod template should have.

    Attributes:
        source: The object that the checksum is of.
        provided: The checksum, if it is given; then nothing is read.
        optional: Whether the pods can start without the object.
    """

    source: Source
    provided: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Requirements:
    """The checksums that a workload should have.

    Attributes:
        items: At most one per source, sorted.
        problems: Words of its opt-in that are not understood.
    """

    items: tuple[Requirement, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def to_read(self) -> tuple[Source, ...]:
        """The sources whose current contents are needed."""
        return tuple(requirement.source for requirement in self.items if requirement.provided is None)


def required(workload: Workload, policy: OperatorPolicy, namespace: str) -> Requirements:
    """Return the checksums that a workload should have.

    A checksum that the workload provides takes precedence over one that the operator provides, and that over a read.

    Args:
        workload: The workload.
        policy: The operator's list.
        namespace: The namespace of the workload.
    """
    if workload.annotations.get(ENABLED) == "false":
        return Requirements()
    problems = list(_enabled_problem(workload.annotations.get(ENABLED)))
    referenced = references(workload.pod_spec)
    found: dict[Source, str | None] = {}
    for kind, annotation in _ANNOTATION_OF.items():
        text = workload.annotations.get(annotation)
        if text is None:
            continue
        listed = parse_list(text, kind)
        problems += listed.problems
        found |= listed.sources
        if listed.everything:
            found |= {source: None for source in referenced if source.kind is kind and source not in found}
    if policy.enabled and namespace in policy.namespaces:
        found |= {s: found.get(s) or given for s, given in policy.sources.items() if s in found or s in referenced}
    where = ".".join((*workload.kind.template_path, "spec"))
    legal = {source: given for source, given in found.items() if is_legal_name(source.name)}
    problems += [Problem("", source.name, _not_a_name(source.kind), where) for source in found if source not in legal]
    ordered = sorted(legal.items(), key=lambda item: item[0].order)
    if len(ordered) > MOST_SOURCES:
        problems.append(Problem("", ordered[MOST_SOURCES][0].name, _too_many(len(ordered)), where))
        ordered = ordered[:MOST_SOURCES]
    return Requirements(
        tuple(Requirement(source, given, optional=referenced.get(source, False)) for source, given in ordered),
        tuple(problems),
    )


@dataclass(frozen=True, slots=True)
class ParsedList:
    """The contents of an opt-in annotation.

    Attributes:
        sources: The named sources, each with its provided checksum or None.
        everything: Whether `*` is among the words.
        problems: The words that are not understood.
    """

    sources: Mapping[Source, str | None]
    everything: bool
    problems: tuple[Problem, ...]


def parse_list(text: str, kind: SourceKind) -> ParsedList:
    """Parse a list such as `a, b`, `a, b=<64 hex digits>` or `*`.

    Blanks around words and empty words are ignored. A name may be repeated, unless with another checksum; then the
    first one counts.
    """
    annotation = _ANNOTATION_OF[kind]
    sources: dict[Source, str | None] = {}
    problems: list[Problem] = []
    everything = False
    words = text.split(",", _MOST_WORDS)
    if len(words) > _MOST_WORDS:
        problems.append(Problem(annotation, words.pop().strip(), f"comes after {_MOST_WORDS} words"))
    for word in filter(None, map(str.strip, words)):
        name, equals, given = word.partition("=")
        source, provided = Source(kind, name), given if equals else None
        if word == EVERYTHING:
            everything = True
        elif not is_legal_name(name):
            problems.append(Problem(annotation, word, _not_a_name(kind)))
        elif provided is not None and not is_checksum(provided):
            problems.append(Problem(annotation, word, "has to give a checksum of 64 lower case hex digits after the ="))
        elif sources.setdefault(source, provided) != provided:
            problems.append(Problem(annotation, word, f"contradicts an earlier word about {name}"))
    return ParsedList(MappingProxyType(sources), everything, tuple(problems))


def is_checksum(text: str) -> bool:
    """Return whether a text has the form of a checksum."""
    return _CHECKSUM.fullmatch(text) is not None


def _enabled_problem(value: str | None) -> Iterator[Problem]:
    if value not in {None, "true", "false"}:
        yield Problem(ENABLED, value or "", 'has to be "true" or "false"')


def _too_many(number: int) -> str:
    return f"is one too many: a workload can depend on {MOST_SOURCES} objects, and this one names {number}"


def _not_a_name(kind: SourceKind) -> str:
    return f"is not a name that a {kind.title} can have (lower case letters, digits, '-' and '.')"
